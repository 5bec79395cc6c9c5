"""List the configs that come with the package, or copy one to edit it."""

import ast
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from projects.adamae_files import (
    CONFIGS,
    SCOPE,
    list_models,
    shipped_config,
    similar_models,
)
from projects.adamae_process import ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(dest='action', required=True, metavar='ls | cp')
    ls = actions.add_parser('ls', help='list the names')
    ls.add_argument(
        'pattern',
        nargs='?',
        default='*',
        help="shell pattern, such as '*finetune' (default: all)",
    )
    cp = actions.add_parser(
        'cp',
        help='copy a config; the copy inherits from the same bases, wherever it lies',
    )
    cp.add_argument('name', help='of a config, as listed')
    cp.add_argument(
        'target', nargs='?', default='.', help='folder or file (default: this folder)'
    )
    return parser.parse_args(argv)


def copied_text(config: Path) -> str:
    """Give the text of a config with bases that are found from any folder.

    Args:
        config (Path): below ``CONFIGS``.

    Returns:
        str: the same but for the strings in ``_base_``, which begin with ``SCOPE``.
    """
    text = config.read_text('utf-8')
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_':
            bases = ast.literal_eval(node.value)
            for base in [bases] if isinstance(bases, str) else bases:
                path = Path(os.path.relpath(config.parent / base, CONFIGS))
                text = text.replace(repr(base), repr(f'{SCOPE}/{path.as_posix()}'))
    return text


def copy(name: str, target: Path) -> Path:
    """Copy a config.

    Args:
        name (str): of the config.
        target (Path): a new file, or a folder that is there.

    Returns:
        Path: of the copy.

    Raises:
        FileExistsError: if the file is there.
        FileNotFoundError: if there is no such config or folder.
    """
    config = shipped_config(name)
    if config is None:
        raise FileNotFoundError(
            f'expected the name of a config, got {name!r}; {similar_models(name)}'
        )
    path = target / config.name if target.is_dir() else target
    with path.open('x', encoding='utf-8') as file:
        file.write(copied_text(config))
    return path


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    try:
        if args.action == 'cp':
            lines = [f'wrote {copy(args.name, Path(args.target))}']
        elif not (lines := list_models(args.pattern)):
            raise FileNotFoundError(f'no config is called like {args.pattern!r}')
    except FileExistsError as error:
        reason = f'expected a new file, got {error.filename}; name another one'
    except OSError as error:
        reason = f'{error.filename}: {error.strerror}' if error.filename else str(error)
    else:
        print(*lines, sep='\n')
        return
    print(f'error: {reason}', file=sys.stderr)
    raise SystemExit(2)


if __name__ == '__main__':
    with ends_in_one_line():
        main()
