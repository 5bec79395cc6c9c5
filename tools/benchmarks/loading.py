"""Clips per second and core of loading pipelines, and where the time goes.

Without a config, compares the loaders on the paper's pre-training pipeline. With one,
measures the config's own pipeline against MMAction2's, on the same videos.
"""

import os
import tempfile
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

import cv2
import loading_pipelines as loading
import torch
from mmengine.registry import init_default_scope
from worker_processes import ratio, summarize

import projects.adamae  # noqa: F401  registers the transforms
from projects.adamae import launch
from projects.adamae.datasets.from_config import innermost, repeats_decode
from projects.adamae.video.folder import find_videos
from projects.adamae_arguments import add_cfg_options


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('config', nargs='?', help='path of a config')
    parser.add_argument(
        '--dataloader',
        default='train_dataloader',
        help='which of its pipelines (default: %(default)s)',
    )
    parser.add_argument(
        '--videos', help='folder of videos to read, instead of generated ones'
    )
    parser.add_argument(
        '--frame-interval',
        type=int,
        default=4,
        help='stride of the baseline on --videos (default: %(default)s)',
    )
    parser.add_argument(
        '--count', type=int, default=6, help='videos per kind (default: %(default)s)'
    )
    parser.add_argument(
        '--rounds', type=int, default=9, help='measured rounds (default: %(default)s)'
    )
    parser.add_argument(
        '--cache',
        default=os.path.join(tempfile.gettempdir(), 'adamae-loading-videos'),
        help='folder of the generated videos (default: %(default)s)',
    )
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    for name in ('count', 'rounds'):
        if getattr(args, name) < 1:
            parser.error(f'--{name}: expected at least 1')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    init_default_scope('mmaction')
    with launch.errors_in_one_line(OSError, ValueError):
        own = None
        if args.config:
            cfg = launch.load_config(args)
            launch.require_keys(cfg, args.config, (args.dataloader,))
            dataset = innermost(cfg[args.dataloader].dataset.to_dict())
            own = dataset if repeats_decode(dataset) else dataset['pipeline']
        sets = {}
        if args.videos:
            files = find_videos(args.videos, '--videos')[: args.count]
            sets[args.videos] = files, args.frame_interval
        else:
            for kind in loading.KINDS:
                files = loading.write_videos(Path(args.cache), kind, args.count)
                sets[kind.name] = files, kind.frame_interval
        for name, (files, frame_interval) in sets.items():
            found = loading.variants(own, frame_interval)
            print_table(name, loading.measure(found, files, args.rounds))


def print_table(name: str, measured: dict) -> None:
    """Print what was measured on one set of videos."""
    rounds = len(measured[loading.BASELINE].rates)
    print(f'\n{name}, clips per second of one core, {rounds} rounds: median (range)')
    for variant, result in measured.items():
        rate = summarize(result.rates)
        times = ratio(result.rates, measured[loading.BASELINE].rates)
        print(
            f'  {variant:<30}{rate.median:>7.1f} ({rate.low:.1f} - {rate.high:.1f})'
            f'{times.median:>8.2f}x ({times.low:.2f} - {times.high:.2f})'
        )
    print('  milliseconds per video, by transform:')
    for variant, result in measured.items():
        parts = ', '.join(f'{part} {ms:.1f}' for part, ms in result.parts.items())
        print(f'    {variant} ({result.clips} per video): {parts}')
        if result.problem:
            print(f'    {variant}: delivers {result.problem}')


if __name__ == '__main__':
    main()
