"""Prepare a dataset: look at its videos, split them, and write annotation files.

Writes train.txt, val.txt, test.txt, classes.txt, a page about what was found, and a
link to the videos.
Started again, it goes on where it stopped.
"""

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence

from projects.adamae_arguments import COUNT, add_video_workers
from projects.adamae_process import ends_in_one_line

KINDS = 'folder', 'segments', 'ssv2', 'kinetics', 'ucf101', 'hmdb51', 'diving48'


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'kind', choices=KINDS, help='of annotations: folder is any folder of videos'
    )
    parser.add_argument('--videos', required=True, help='folder of the videos')
    parser.add_argument(
        '--labels',
        nargs='+',
        metavar='PATH',
        help='folder: a table (csv or tsv) with the columns path and label, and split, '
        'group, start, end if you like; others: the official files, or their folder',
    )
    parser.add_argument(
        '--labels-from-folders',
        action='store_true',
        help='the folder below --videos that a video is in names its class',
    )
    parser.add_argument('--out', required=True, help='folder for what is written')
    parser.add_argument(
        '--split',
        nargs=3,
        type=float,
        metavar=('TRAIN', 'VAL', 'TEST'),
        help='shares of videos that the annotations give no split (default: 0.8 0.1 '
        '0.1; without labels all are for training)',
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='of that split (default: %(default)s)'
    )
    parser.add_argument(
        '--fold', type=COUNT, help='ucf101, hmdb51: which of the three official splits'
    )
    parser.add_argument(
        '--length', type=float, help='segments: cut all videos into so many seconds'
    )
    parser.add_argument(
        '--check-all',
        action='store_true',
        help='decode every frame; takes hours for large data sets',
    )
    add_video_workers(parser)
    parser.add_argument(
        '--overwrite', action='store_true', help='replace lists that are others'
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='print the page and write nothing'
    )
    args = parser.parse_args(argv)
    if args.labels_from_folders and (args.kind != 'folder' or args.labels):
        parser.error('--labels-from-folders: expected kind folder, and no --labels')
    if args.fold and args.kind not in ('ucf101', 'hmdb51'):
        parser.error('--fold: expected kind ucf101 or hmdb51')
    if args.length is not None and args.kind != 'segments':
        parser.error('--length: expected kind segments')
    if args.kind != 'folder' and not args.labels and args.length is None:
        parser.error(f'--labels: expected the annotations of {args.kind}, got none')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from projects.adamae import launch
    from projects.adamae.datasets.preparers import prepare
    from projects.adamae.utils.text import printable

    names = 'labels_from_folders', 'fold', 'length'
    options = {name: vars(args)[name] for name in names if vars(args)[name]}
    with launch.errors_in_one_line(OSError, ValueError, interrupted=launch.GO_ON):
        collection = prepare.read_collection(
            args.kind, args.videos, args.labels or (), **options
        )
        summary = prepare.prepare(
            collection,
            args.out,
            kind=args.kind,
            split=args.split,
            seed=args.seed,
            workers=args.workers,
            check_all=args.check_all,
            time_limit=args.time_limit,
            overwrite=args.overwrite,
            dry_run=args.dry_run,
        )
    print(summary.page if args.dry_run else summary.gist())
    if args.dry_run:
        return
    print(f'lists and summary.md: {printable(args.out)}')
    if args.kind != 'segments' and not prepare.link_videos(args.videos, args.out):
        print(
            f'{printable(args.out)}/videos could not become a link to them: a config '
            f'finds the videos with data_prefix.video={printable(args.videos)}'
        )


if __name__ == '__main__':
    with ends_in_one_line():
        main()
