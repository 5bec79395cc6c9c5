"""Check which package imports which, and draw it into docs/architecture.md."""

import ast
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from projects.adamae_process import ends_in_one_line

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = 'projects.adamae'
# From the bottom to the top. A module may import its own package and any floor below.
FLOORS = (
    ('utils', 'video'),
    ('compat', 'registry'),
    ('checkpoints', 'datasets'),
    ('models.tokens', 'models.build'),
    ('models.transformer',),
    ('models.separable',),
    (
        'models.backbones',
        'models.data_preprocessors',
        'models.decoders',
        'models.linear_probe_head',
        'models.losses',
        'models.samplers',
        'models.subsets',
    ),
    ('models.mae_recognizer',),
    ('models',),
    ('analysis', 'evaluation', 'visualization'),
    ('apis', 'engine'),
    ('launch',),
    ('diagnosis',),
    ('reporting',),
    ('',),  # projects/adamae/__init__.py
)
START, END = '<!-- made by tools/architecture.py -->\n', '<!-- end -->\n'


@cache
def room_of(module: str) -> str:
    """Find the entry of ``FLOORS`` that a module belongs to.

    Args:
        module (str): absolute name, within the package.

    Returns:
        str: the longest entry that is the module or one of its packages.
    """
    name = module.removeprefix(PACKAGE).lstrip('.')
    rooms = [room for floor in FLOORS for room in floor]
    return max(
        (r for r in rooms if f'{name}.'.startswith(f'{r}.')), key=len, default=''
    )


def floor_of(room: str) -> int:
    """Count the floors below a room."""
    return next(number for number, floor in enumerate(FLOORS) if room in floor)


def iter_imports(root: Path) -> Iterator[tuple[str, str, str]]:
    """Walk the imports between modules of the package, also inside functions.

    Args:
        root (Path): of the repository.

    Yields:
        tuple[str, str, str]: importing module, imported module, file and line.
    """
    files = sorted((root / PACKAGE.replace('.', '/')).rglob('*.py'))
    names = {path: _module_name(path.relative_to(root)) for path in files}
    modules = set(names.values())
    for path, module in names.items():
        is_package = path.name == '__init__.py'
        for node in _import_statements(path.read_text('utf-8')):
            place = f'{path.relative_to(root)}:{node.lineno}'
            for target in _targets(node, module, is_package):
                while target not in modules and '.' in target:
                    target = target.rpartition('.')[0]
                if target in modules and target != module:
                    yield module, target, place


@cache
def _import_statements(source: str) -> list[ast.Import | ast.ImportFrom]:
    nodes = ast.walk(ast.parse(source))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def _module_name(path: Path) -> str:
    return '.'.join(path.with_suffix('').parts).removesuffix('.__init__')


def _targets(
    node: ast.Import | ast.ImportFrom, module: str, is_package: bool
) -> list[str]:
    """List what a statement imports, by absolute names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = module.split('.')
    if node.level:
        base = base[: len(base) - node.level + is_package]
    else:
        base = []
    base += [node.module] if node.module else []
    return ['.'.join([*base, alias.name]) for alias in node.names]


def upward_imports(root: Path) -> list[str]:
    """Find imports of a higher floor, or of another room on the same one.

    Args:
        root (Path): of the repository.

    Returns:
        list[str]: one line per import.
    """
    found = []
    for module, target, place in iter_imports(root):
        here, there = room_of(module), room_of(target)
        if here != there and floor_of(there) >= floor_of(here):
            found.append(f'{place}: {here or "the package"} must not import {there}')
    return found


def draw(root: Path) -> str:
    """Draw rooms and imports in Mermaid's language.

    Args:
        root (Path): of the repository.

    Returns:
        str: a fenced block of Markdown, the top floor first.
    """
    arrows = set()
    for module, target, _ in iter_imports(root):
        here, there = (room_of(m).partition('.')[0] for m in (module, target))
        if here and there and here != there:
            arrows.add((here, there))
    lines = ['```mermaid', 'flowchart TD']
    rooms = {room.partition('.')[0]: floor for floor in FLOORS for room in floor}
    lines += [f'    {room}' for room in reversed(rooms) if room]
    order = list(rooms)
    lines += [
        f'    {here} --> {there}'
        for here, there in sorted(
            arrows, key=lambda arrow: [-order.index(room) for room in arrow]
        )
    ]
    return '\n'.join([*lines, '```', ''])


def updated_page(root: Path) -> str:
    """Give ``docs/architecture.md`` with today's picture.

    Args:
        root (Path): of the repository.

    Returns:
        str: its text.
    """
    page = (root / 'docs/architecture.md').read_text('utf-8')
    before, rest = page.split(START)
    return before + START + draw(root) + END + rest.split(END)[1]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    ArgumentParser(description=__doc__).parse_args(argv)
    (ROOT / 'docs/architecture.md').write_text(updated_page(ROOT), 'utf-8')
    if found := upward_imports(ROOT):
        print(*found, sep='\n', file=sys.stderr)
        raise SystemExit(1)


if __name__ == '__main__':
    with ends_in_one_line():
        main()
