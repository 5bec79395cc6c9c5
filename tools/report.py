"""Write the report of a run: one HTML page, to be opened from the disk.

It holds what was run, curves beside those of healthy runs, masks over playing clips,
pictures and test results. Nothing in the work folder is changed, but for the page.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from projects.adamae_arguments import whole_number
from projects.adamae_process import announce, ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('work_dir', type=Path, help='work folder of the run')
    parser.add_argument(
        '--out', type=Path, help='file of the page (default: report.html in the folder)'
    )
    parser.add_argument(
        '--clips',
        type=whole_number(0, 20),
        default=3,
        help='held-out videos to run the checkpoints of a pre-training on, with the '
        'masks playing over them (default: 3; 0: none, which is faster)',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    announce('reading the run, and drawing')
    # These take seconds, and --help does not need them.
    from projects.adamae import launch, reporting
    from projects.adamae.utils import cpu
    from projects.adamae.utils.text import printable

    with launch.errors_in_one_line(OSError, ValueError), cpu.onednn():
        out = args.out or args.work_dir / 'report.html'
        if out.is_dir():
            raise ValueError(f'--out: expected the name of a file, {out} is a folder')
        notes = reporting.write_report(args.work_dir, out, args.clips)
    for note in notes:
        print(f'note: {printable(note)}')
    print(f'{printable(str(out))}: {out.stat().st_size / 1e6:.2f} MB')


if __name__ == '__main__':
    with ends_in_one_line():
        main()
