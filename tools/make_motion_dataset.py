"""Make a small labeled dataset of H.264 files whose label is a motion.

A textured square moves over a static, smooth background. The label is the direction
of the motion and nothing else: one frame gives nothing away, every window of a few
frames gives the label.
"""

import os
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import fields

from projects.adamae_process import ends_in_one_line


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('out', help='folder of the dataset')
    # The defaults of `MotionSpec`; importing it would take a second.
    for name, default, text in (
        ('num_train', 1600, 'training videos'),
        ('num_val', 200, 'held-out videos'),
        ('size', 32, 'height and width in pixels, even'),
        ('num_frames', 32, 'frames of a video'),
        ('num_classes', 8, 'directions of motion'),
        ('fps', 16, 'frame rate written into the files'),
        ('seed', 0, 'of everything random'),
    ):
        parser.add_argument(
            '--' + name.replace('_', '-'),
            type=int,
            default=default,
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
    # These take seconds, and --help does not need them.
    from projects.adamae import launch
    from projects.adamae.datasets.preparers import motion_videos

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
    with ends_in_one_line():
        main()
