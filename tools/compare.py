"""Say what differs between two runs: config, data, code, packages, machine, results.

Each is a work folder (its newest run), a run.json, a checkpoint or a config. The exit
code is that of diff: 0 if nothing differs, 1 if something does, 2 if one cannot be
read.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from projects.adamae_process import ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('a', metavar='A', help='the first')
    parser.add_argument('b', metavar='B', help='the second')
    parser.add_argument(
        '--json', action='store_true', help='print it as JSON, values in full length'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from mmengine.logging import MMLogger

    from projects.adamae import launch
    from projects.adamae.analysis import comparison
    from projects.adamae.analysis.run_files import read_run

    # What reading a config tells would be part of what is printed.
    MMLogger.get_current_instance().setLevel('WARNING')
    with launch.errors_in_one_line(OSError, ValueError):
        found = comparison.compare_runs(read_run(args.a), read_run(args.b))
    write = comparison.comparison_as_json if args.json else comparison.format_comparison
    print(write(found))
    raise SystemExit(int(found.differs))


if __name__ == '__main__':
    with ends_in_one_line():
        main()
