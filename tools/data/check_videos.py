"""Find damaged videos beforehand: decode every frame, and list what is wrong.

A source is a folder, an annotation file (the first field of each line is a video) or a
config, whose data sets are checked. Started again, it goes on where it stopped.
"""

import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from projects.adamae_arguments import SPLITS, add_cfg_options, add_video_workers
from projects.adamae_process import ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('source', nargs='+', help='folder, annotation file or config')
    parser.add_argument(
        '--root', default='', help='folder of the videos that a list names'
    )
    parser.add_argument(
        '--delimiter', help='of a list (default: a tab if there is one, else blanks)'
    )
    parser.add_argument(
        '--table',
        default='bad_videos.tsv',
        help='where to write path, kind and detail of the bad ones; TABLE.progress '
        'remembers what was checked (default: %(default)s)',
    )
    parser.add_argument(
        '--good-list', help='new file for the lines of a list without the bad ones'
    )
    add_video_workers(parser)
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    only = Path(args.source[0])
    if args.good_list and (
        len(args.source) > 1 or only.is_dir() or only.suffix == '.py'
    ):
        parser.error('--good-list: expected one annotation file as source')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from projects.adamae import launch
    from projects.adamae.datasets.preparers import check

    with launch.errors_in_one_line(OSError, ValueError, interrupted=launch.GO_ON):
        if args.good_list and os.path.exists(args.good_list):
            raise FileExistsError(
                f'--good-list: expected a new file, {args.good_list} exists'
            )
        files: list[str] = []
        for source in args.source:
            files += videos_of(source, args)
        progress = f'{args.table}.progress'
        bad = check.check_videos(files, progress, args.workers, args.time_limit)
        check.write_table(bad, args.table)
        if args.good_list:
            paths = {problem.path for problem in bad}
            lines = read_list(args.source[0])
            with open(args.good_list, 'x', encoding='utf-8') as file:
                file.writelines(
                    f'{line}\n' for line in lines if path_of(line, args) not in paths
                )
    print(f'{len(files)} videos checked, {len(bad)} bad: {args.table}')
    for problem in bad:
        print(f'  {problem.path}: {problem.kind}: {problem.detail}', file=sys.stderr)
    raise SystemExit(1 if bad else 0)


def videos_of(source: str, args: Namespace) -> list[str]:
    """List the videos of a folder, an annotation file or a config."""
    from projects.adamae.video.folder import find_videos

    if os.path.isdir(source):
        return find_videos(source, 'source')
    if source.endswith('.py'):
        return _videos_of_config(source, args)
    files = [path_of(line, args) for line in read_list(source)]
    if not files:
        raise ValueError(f'{source}: expected a video in each line, found none')
    return files


def _videos_of_config(source: str, args: Namespace) -> list[str]:
    from mmengine.registry import init_default_scope

    from projects.adamae import launch
    from projects.adamae.datasets.from_config import build_dataset, names_and_labels

    args.config = source
    cfg = launch.load_config(args)
    init_default_scope('mmaction')
    files: list[str] = []
    for split in SPLITS:
        if cfg.get(f'{split}_dataloader'):
            files += names_and_labels(build_dataset(cfg, split, (1, 16, 16)))[0]
    return files


def read_list(source: str) -> list[str]:
    """Read the lines of an annotation file that are not empty."""
    with open(source, encoding='utf-8-sig') as file:
        return [line.rstrip('\n') for line in file if line.strip()]


def path_of(line: str, args: Namespace) -> str:
    """Give the path of the video that a line names, as a dataset splits it."""
    from projects.adamae.datasets.annotation_lines import split_line

    return os.path.join(args.root, split_line(line, args.delimiter)[0])


if __name__ == '__main__':
    with ends_in_one_line():
        main()
