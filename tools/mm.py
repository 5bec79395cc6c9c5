"""Run one of MMAction2's own tools on configs and checkpoints of this project.

For example: %(prog)s confusion_matrix CONFIG CHECKPOINT --show-path matrix.png. Which
of them work, and with which arguments: "MMAction2's own tools on our configs" in the
documentation.
"""

from argparse import REMAINDER, ArgumentParser, Namespace
from collections.abc import Sequence

from projects.adamae_process import ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        'tool',
        metavar='TOOL',
        help='its script in MMAction2, without .py; a wrong name lists all',
    )
    parser.add_argument(
        'arguments', nargs=REMAINDER, help='of the tool; TOOL --help lists them'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from projects.adamae import launch
    from projects.adamae.launch.mm_tools import run_mm_tool

    with launch.errors_in_one_line(FileNotFoundError, ValueError):
        run_mm_tool(args.tool, args.arguments)


if __name__ == '__main__':
    with ends_in_one_line():
        main()
