"""The command ``adamae``: every tool by a short name.

The tools are those of the folder ``tools``; what they say of themselves in their first
line is what the command says of them. ``--help`` imports none of them.
"""

import ast
import os
import shlex
import sys
import types
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.machinery import SourceFileLoader
from pathlib import Path

from projects.adamae_files import IS_INSTALLED, TOOLS

# Names and files, as the help lists them. A tool without a line here goes by the name
# of its file.
GROUPS = {
    'Start here': {
        'demo': 'demo.py',
        'configs': 'configs.py',
    },
    'Your own videos': {
        'new-dataset': 'new_dataset.py',
        'prepare': 'data/prepare.py',
        'check-videos': 'data/check_videos.py',
        'transcode': 'data/transcode.py',
        'motion-videos': 'make_motion_dataset.py',
    },
    'Train and test': {
        'plan': 'plan.py',
        'train': 'train.py',
        'test': 'test.py',
        'dist-train': 'dist_train.sh',
        'dist-test': 'dist_test.sh',
        'slurm-train': 'slurm_train.sh',
        'slurm-test': 'slurm_test.sh',
        'replay': 'replay.py',
        'study': 'study.py',
    },
    'Look at a model': {
        'visualize': 'visualize.py',
        'report': 'report.py',
        'doctor': 'doctor.py',
        'compare': 'compare.py',
        'probe': 'knn_eval.py',
        'flops': 'get_flops.py',
    },
    'Use a model': {
        'predict': 'predict.py',
        'features': 'extract_features.py',
        'export': 'export.py',
        'convert': 'convert_checkpoint.py',
        'mm': 'mm.py',
        'app': 'app.py',
    },
}
OTHER = 'Other tools'
# Of a checkout only: what keeps its pages up to date, and the old name of a tool.
_HIDDEN = ('architecture.py', 'matrix.py', 'visualise.py')


def commands() -> dict[str, dict[str, Path]]:
    """List what there is, by group: names and the files of the tools."""
    groups = {
        group: {name: TOOLS / file for name, file in names.items()}
        for group, names in GROUPS.items()
    }
    known = {path for names in groups.values() for path in names.values()}
    found = (*TOOLS.glob('[!_]*.py'), *TOOLS.glob('data/[!_]*.py'))
    groups[OTHER] = {
        _name_of_file(path.name): path
        for path in sorted(found)
        if path not in known and path.name not in _HIDDEN
    }
    return groups


def find_tool(name: str) -> Path | None:
    """Find a tool by the name of its command or of its file."""
    for names in commands().values():
        for command, path in names.items():
            files = path.stem, path.name, f'tools/{path.relative_to(TOOLS)}'
            if name in (command, *files):
                return path
    return None


def tool_name(tool: str) -> str:
    """Give the name that a message uses for a tool.

    Args:
        tool (str): its file below ``tools``, such as ``'data/prepare.py'``.

    Returns:
        str: ``'adamae prepare'`` if the package is installed, and else
        ``'tools/data/prepare.py'``, as a reader of this checkout's pages knows it.
    """
    if not IS_INSTALLED:
        return f'tools/{tool}'
    names = {file: n for group in GROUPS.values() for n, file in group.items()}
    return f'adamae {names.get(tool) or _name_of_file(tool)}'


def docs_page(page: str, section: str = '') -> str:
    """Give the name that a message uses for a page of the documentation.

    Args:
        page (str): its file below ``docs``, without ending.
        section (str, optional): a heading of it. Defaults to none.

    Returns:
        str: a page of the site if the package is installed, as a wheel has no pages,
        and else the file in this checkout.
    """
    name = f'{page}.html of the documentation' if IS_INSTALLED else f'docs/{page}.md'
    return f'{name}, "{section}"' if section else name


def command_line(tool: str, *arguments: object) -> str:
    """Write a command that runs a tool from the present folder.

    Args:
        tool (str): its file below ``tools``.
        *arguments (object): of its command line, as text.

    Returns:
        str: quoted for a shell; what runs is named as by :func:`tool_name`.
    """
    path, here = TOOLS / tool, Path.cwd()
    if IS_INSTALLED:
        start = tool_name(tool).split()
    else:
        below = path.is_relative_to(here)
        start = ['python', str(path.relative_to(here) if below else path)]
    return shlex.join([*start, *map(str, arguments)])


def _name_of_file(tool: str) -> str:
    return Path(tool).stem.replace('_', '-')


def _summary(path: Path) -> str:
    """Give the first line of what a tool says of itself."""
    text = path.read_text('utf-8')
    if path.suffix == '.sh':
        return text.splitlines()[1].removeprefix('# ')
    return (ast.get_docstring(ast.parse(text)) or '').split('\n')[0]


def help_text() -> str:
    """Write what ``adamae --help`` prints."""
    lines = [
        'usage: adamae COMMAND [ARGUMENTS...]',
        '',
        'Masked video pre-training for MMAction2. adamae COMMAND --help says more. A',
        'CONFIG is a file, or a name that `adamae configs ls` lists.',
    ]
    for group, names in commands().items():
        lines += [f'\n{group}:'] * bool(names)
        lines += [f'  {name:<14} {_summary(path)}' for name, path in names.items()]
    return '\n'.join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool that the command line names."""
    name, *arguments = (sys.argv[1:] if argv is None else argv) or ['--help']
    if name in ('-h', '--help'):
        print(help_text())
        return
    path = find_tool(name)
    if path is None:
        names = [name for group in commands().values() for name in group]
        near = get_close_matches(name, names, n=1)
        hint = f'did you mean {near[0]}?' if near else 'see adamae --help'
        print(f'error: expected a command, got {name!r}; {hint}', file=sys.stderr)
        raise SystemExit(2)
    if path.suffix == '.sh':
        sys.stdout.flush()
        env = {'PYTHON': sys.executable, **os.environ}
        env['CALLED_AS'] = f'adamae {name}'  # in its usage
        os.execvpe('bash', ['bash', str(path), *arguments], env)
    # As `python FILE`, but for its name in the help, which runpy would change.
    sys.argv = [f'adamae {name}', *arguments]
    loader = SourceFileLoader('__main__', str(path))
    module = types.ModuleType('__main__')
    module.__file__ = str(path)
    sys.modules['__main__'] = module
    loader.exec_module(module)


if __name__ == '__main__':
    main()
