"""Make a small labeled dataset of H.264 files whose label is a motion."""

import os
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import fields

from projects.adamae import launch
from projects.adamae.datasets.preparers import motion_videos


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    default = motion_videos.MotionSpec()
    parser = ArgumentParser(
        description=motion_videos.__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('out', help='folder of the dataset')
    for name, text in (
        ('num_train', 'training videos'),
        ('num_val', 'held-out videos'),
        ('size', 'height and width in pixels, even'),
        ('num_frames', 'frames of a video'),
        ('num_classes', 'directions of motion'),
        ('fps', 'frame rate written into the files'),
        ('seed', 'of everything random'),
    ):
        parser.add_argument(
            '--' + name.replace('_', '-'),
            type=int,
            default=getattr(default, name),
            metavar='N',
            help=f'{text} (default: %(default)s)',
        )
    for name, kind, text, relative in (
        ('object_size', int, 'side of the square in pixels', '1/4 and 3/8'),
        ('speed', float, 'speed in pixels per frame', '1/32 and 1/16'),
    ):
        parser.add_argument(
            '--' + name.replace('_', '-'),
            type=kind,
            nargs=2,
            metavar=('LOW', 'HIGH'),
            default=(0, 0),
            help=f'{text} (default: {relative} of the size)',
        )
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes')
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace a motion dataset that has other parameters',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    values = {f.name: getattr(args, f.name) for f in fields(motion_videos.MotionSpec)}
    values.update(object_size=tuple(args.object_size), speed=tuple(args.speed))
    start = time.time()
    with launch.errors_in_one_line(FileExistsError, ValueError):
        spec = motion_videos.MotionSpec(**values)
        made = motion_videos.make_dataset(args.out, spec, args.workers, args.overwrite)
    total = len(spec.items())
    if made:
        seconds = time.time() - start
        print(f'{args.out}: wrote {made} of {total} videos in {seconds:.1f} s')
    else:
        print(f'{args.out}: complete, reusing its {total} videos')


if __name__ == '__main__':
    main()
