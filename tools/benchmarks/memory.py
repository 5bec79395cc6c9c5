"""Predict the GPU memory of a config's training step, without a GPU.

Where there is one, --measure runs the step and prints what was really used.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import reference_models as plain
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from projects.adamae import launch
from projects.adamae.analysis import memory
from projects.adamae_arguments import add_cfg_options

TABLE1_CONFIG = 'configs/adamae_vitb_ssv2_pretrain.py'


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='?', help='path of the config')
    parser.add_argument(
        '--batch-size', type=int, help="clips per GPU (default: the config's)"
    )
    parser.add_argument(
        '--amp',
        choices=['config', 'float16', 'bfloat16', 'none'],
        default='config',
        help="precision (default: the config's)",
    )
    parser.add_argument(
        '--with-cp', action='store_true', help='with activation checkpointing'
    )
    parser.add_argument(
        '--distributed',
        action='store_true',
        help='as one of several GPUs: with the buckets of DistributedDataParallel',
    )
    parser.add_argument(
        '--baseline',
        action='store_true',
        help='also the plain ViT-B pre-training step, and the ratio',
    )
    parser.add_argument(
        '--measure', action='store_true', help='also run the step, on this GPU'
    )
    parser.add_argument(
        '--table1',
        type=int,
        nargs='?',
        const=len(plain.TABLE1),
        metavar='ROWS',
        help="the paper's Table 1 (its first ROWS), instead of a config",
    )
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    if (args.config is None) == (args.table1 is None):
        parser.error('expected a config, or --table1')
    return args


def show(name: str, peak: memory.Peak) -> None:
    """Print the parts of a peak."""
    print(f'\n{name}')
    for part, size in peak.parts.items():
        print(f'  {part:<16}{size / 2**30:>8.2f} GiB{size / peak.total:>7.1%}')
    print(f'  {"peak":<16}{peak.total / 2**30:>8.2f} GiB ({peak.total / 1e9:.2f} GB)')
    print(f'  reached in {peak.moment}')


def of_config(args: Namespace) -> None:
    """Print the peak of a config."""
    with launch.errors_in_one_line(FileNotFoundError, ValueError):
        cfg = launch.load_config(args)
        launch.require_keys(cfg, args.config, ('model', 'optim_wrapper'))
        init_default_scope(cfg.get('default_scope', 'mmaction'))
        if args.with_cp:
            memory.checkpoint_activations(cfg)
        amp = None if args.amp == 'none' else args.amp
        batch = args.batch_size
        if batch is None:
            batch = memory.clips_per_step(cfg)
        make = partial(memory.config_step, cfg, batch, amp, args.distributed)
        peak = memory.predict(make)
    show(f'{args.config}: {batch} clips', peak)
    if args.measure:
        with launch.errors_in_one_line(RuntimeError):
            real = memory.measure(make)
        print(f'  measured{real / 2**30:>16.2f} GiB: {peak.total / real - 1:+.1%}')
    if args.baseline:
        base = memory.predict(partial(plain.plain_step, batch, visible=78))
        show('plain modules, ViT-B, 95% masked, float16', base)
        print(f'\nratio: {base.total / peak.total:.2f}')


def table1(rows: Sequence[plain.Row]) -> None:
    """Print the paper's memory next to that of the plain step and of ours."""
    init_default_scope('mmaction')
    path = str(Path(__file__).resolve().parents[2] / TABLE1_CONFIG)
    print('GB (1e9 bytes), batch 16, float16; DDP: with gradient buckets, as published')
    print(
        f'{"":<24}{"paper":>7}{"plain+DDP":>11}{"error":>8}{"plain":>8}{"ours":>7}'
        f'{"ratio":>7}{"with cp":>9}{"ratio":>7}'
    )
    for row in rows:
        base = memory.predict(partial(plain.plain_step, **row.plain))
        peaks = []
        for recompute in (False, True):
            cfg = Config.fromfile(path)
            cfg.merge_from_dict(row.ours)
            if recompute:
                memory.checkpoint_activations(cfg)
            peaks.append(memory.predict(partial(memory.config_step, cfg, 16)).total)
        # DistributedDataParallel held gradients twice.
        total = base.total + base.parts['gradients']
        print(
            f'{row.name:<24}{row.paper:>7.1f}{total / 1e9:>11.2f}'
            f'{total / 1e9 / row.paper - 1:>+8.1%}{base.total / 1e9:>8.2f}'
            f'{peaks[0] / 1e9:>7.2f}{base.total / peaks[0]:>7.2f}'
            f'{peaks[1] / 1e9:>9.2f}{base.total / peaks[1]:>7.2f}',
            flush=True,
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    MMLogger.get_instance('memory', log_level='ERROR')
    if args.table1 is not None:
        table1(plain.TABLE1[: args.table1])
    else:
        of_config(args)


if __name__ == '__main__':
    main()
