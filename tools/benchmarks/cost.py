"""Estimate what a config's training run takes: GPU hours and loader cores.

FLOP and memory are counted; the share of a GPU's peak rate that is reached is assumed.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import partial

from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from projects.adamae import launch
from projects.adamae.analysis import cost, memory
from projects.adamae.datasets.from_config import clips_per_video
from projects.adamae_arguments import add_cfg_options


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('config', help='path of the config')
    parser.add_argument('--videos', type=int, required=True, help='videos per epoch')
    parser.add_argument('--epochs', type=int, help="default: the config's")
    parser.add_argument(
        '--utilization',
        type=float,
        default=0.3,
        help="assumed share of a GPU's peak rate (default: 0.3)",
    )
    parser.add_argument(
        '--clips-per-core',
        type=float,
        help='clips per second that a core loads, see tools/benchmarks/loading.py',
    )
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    for name in ('videos', 'epochs', 'clips_per_core'):
        value = getattr(args, name)
        if value is not None and value <= 0:
            parser.error(f'--{name.replace("_", "-")}: expected more than 0')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    MMLogger.get_instance('cost', log_level='ERROR')
    with launch.errors_in_one_line(FileNotFoundError, ValueError):
        cfg = launch.load_config(args)
        launch.require_keys(cfg, args.config, launch.TRAINING_KEYS)
        init_default_scope(cfg.get('default_scope', 'mmaction'))
        flops = cost.step_flops(partial(memory.config_step, cfg, 1))
        peak = memory.predict(partial(memory.config_step, cfg, distributed=True))
        epochs = args.epochs or cfg.train_cfg.max_epochs
        per_video = clips_per_video(cfg.train_dataloader.dataset)
        clips = epochs * args.videos * per_video
        hours = {
            name: cost.gpu_hours(clips, flops, rate, args.utilization)
            for name, rate in cost.GPUS.items()
        }
    print(f'counted: {flops / 1e9:.1f} GFLOP per clip, forward and backward')
    print(
        f'predicted: {peak.total / 1e9:.1f} GB per GPU, gradient buckets included, '
        f'batch of {memory.clips_per_step(cfg)} clips'
    )
    print(
        f'ESTIMATE, {epochs} epochs of {args.videos:,} videos x {per_video} clips at '
        f'an assumed {args.utilization:.0%} of the peak rate:'
    )
    for name, rate in cost.GPUS.items():
        line = f'  {name:<10}{hours[name]:>8,.0f} GPU hours, '
        line += f'{rate * args.utilization / flops:>6,.0f} clips per second'
        if args.clips_per_core:
            cores = cost.loader_cores(
                flops, rate, args.utilization, args.clips_per_core
            )
            line += f', {cores:.0f} loader cores per GPU'
        print(line)


if __name__ == '__main__':
    main()
