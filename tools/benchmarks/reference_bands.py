"""Measure the bands of healthy runs for the reports of tools/report.py.

Give the work folders of finished runs of one recipe, each with another seed. The bands
of the family replace those that were there.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('family', help='name of the recipe')
    parser.add_argument('work_dirs', nargs='+', metavar='WORK_DIR')
    parser.add_argument(
        '--how', required=True, help='command and machine of these runs, for readers'
    )
    parser.add_argument('--file', type=Path, help="(default: the package's own)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    from projects.adamae import launch
    from projects.adamae.reporting import bands

    with launch.errors_in_one_line(FileNotFoundError, ValueError):
        file = args.file or bands.FILE
        folders = [Path(folder) for folder in args.work_dirs]
        names = bands.add_family(file, args.family, folders, args.how)
    print(f'{file}: {args.family}, {len(names)} scalars of {len(folders)} runs')


if __name__ == '__main__':
    main()
