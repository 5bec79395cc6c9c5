"""Say what is likely wrong with a training run, from its work folder.

Reads the curves, config and log that the run left and, where they are there, its data
lists, some of its videos and its checkpoints; changes nothing. Start it in the folder
that training was started in. Exit code 0: the run looks healthy; 1: there are findings;
2: the folder cannot be read. See "What is wrong with this run?" in the documentation.
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence

from projects.adamae_process import announce, ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dir', help='of a run, as of --work-dir')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    announce('reading the run, its data and its checkpoints')
    # These take seconds, and --help does not need them.
    from projects.adamae import launch
    from projects.adamae.diagnosis import examine
    from projects.adamae.utils.text import printable

    with launch.errors_in_one_line(OSError, ValueError):
        found = examine(args.work_dir)
    for number, (cause, evidence, remedy) in enumerate(found.findings, 1):
        print(f'{number}. {printable(cause)}')
        print(f'   evidence: {printable(evidence)}')
        print(f'   what to do: {printable(remedy)}')
    if found.unknown:
        print('not judged:')
        print(*(f'   {printable(text)}' for text in found.unknown), sep='\n')
    if found.findings:
        raise SystemExit(1)
    print(f'{args.work_dir}: nothing found')


if __name__ == '__main__':
    with ends_in_one_line():
        main()
