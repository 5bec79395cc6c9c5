"""Transcode a folder of videos into small ones that are quick to decode."""

import os
import sys
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser, Namespace
from collections.abc import Sequence

from projects.adamae_process import ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    # The defaults of `TranscodeSpec`; importing it would take a second.
    parser = ArgumentParser(
        description=__doc__, formatter_class=ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('source', help='folder of videos, at any depth')
    parser.add_argument('target', help='folder of the new files')
    parser.add_argument('--short-side', type=int, default=256, help='pixels, even')
    parser.add_argument(
        '--gop', type=int, default=30, help='most frames between key frames'
    )
    parser.add_argument(
        '--crf', type=int, default=23, help='x264 quality, 0 (best) to 51'
    )
    parser.add_argument(
        '--preset', default='medium', help='x264 effort, ultrafast to placebo'
    )
    parser.add_argument(
        '--fast-decode',
        action='store_true',
        help='omit what is slow to decode; files grow',
    )
    parser.add_argument(
        '--keep-truncated',
        action='store_true',
        help='write what is left of videos that end before the length in their header',
    )
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count() or 1, help='processes'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # These take seconds, and --help does not need them.
    from projects.adamae import launch
    from projects.adamae.datasets.preparers import transcode

    errors = FileNotFoundError, FileExistsError, ValueError, transcode.TargetError
    with launch.errors_in_one_line(*errors, interrupted=launch.GO_ON):
        spec = transcode.TranscodeSpec(
            args.short_side, args.gop, args.crf, args.preset, args.fast_decode
        )
        written, there, failed = transcode.transcode_folder(
            args.source, args.target, spec, args.workers, args.keep_truncated
        )
    print(f'{args.target}: wrote {written} videos, {there} were there already')
    if failed:
        print(f'{len(failed)} were not written:', file=sys.stderr)
        for name, error in failed.items():
            print(f'  {name}: {error}', file=sys.stderr)
        raise SystemExit(1)


if __name__ == '__main__':
    with ends_in_one_line():
        main()
