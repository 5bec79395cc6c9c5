"""Time a training step of ours against a baseline, interleaved.

Pre-training is compared with plain modules written from the paper, fine-tuning with
MMAction2's VisionTransformer, `--overhead` MMEngine's runner with a bare loop.
"""

import math
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import iteration_overhead as overhead
import torch
import training_steps as steps
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from worker_processes import MALLOC, Worker, interleave, ratio, summarize

from projects.adamae import launch
from projects.adamae_arguments import add_cfg_options

ROOT = Path(__file__).resolve().parents[2]

CONFIGS = {
    'pretrain': 'configs/adamae_vitb_ssv2_pretrain.py',
    'finetune': 'configs/adamae_vitb_ssv2_finetune.py',
    'overhead': 'configs/demo/motion_pretrain.py',
}


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('--model', choices=['pretrain', 'finetune'], default='pretrain')
    parser.add_argument(
        '--overhead', action='store_true', help="the demo's model in MMEngine's runner"
    )
    parser.add_argument('--config', help='another config than that of the paper, ViT-B')
    parser.add_argument('--batch-size', type=int, default=2)
    parser.add_argument('--steps', type=int, default=5, help='rounds that are measured')
    parser.add_argument(
        '--iterations', type=int, default=100, help='per round, with --overhead'
    )
    parser.add_argument('--threads', type=int, help="(default: PyTorch's choice)")
    parser.add_argument(
        '--malloc',
        choices=[*MALLOC, 'both'],
        default='both',
        help="glibc's settings: 'tuned' keeps freed memory",
    )
    parser.add_argument(
        '--onednn',
        choices=['ours', 'both', 'neither'],
        default='ours',
        help='which side lets oneDNN multiply, where that is faster than MKL; the '
        'tools do (default: ours)',
    )
    parser.add_argument('--device', help='(default: a GPU if there is one)')
    parser.add_argument('--dtype', choices=['float32', 'bfloat16', 'float16'])
    parser.add_argument('--compile', action='store_true', help='compile ours')
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    for name in ('batch_size', 'steps', 'iterations'):
        if getattr(args, name) < 1:
            parser.error(f'--{name.replace("_", "-")}: expected at least 1')
    return args


def compare_steps(args: Namespace, malloc: str) -> None:
    """Print the comparison under one setting of malloc."""
    cfg = launch.load_config(args)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    steps.check_comparable(cfg.model.to_dict())
    counts = steps.flops_by_part(cfg.model.to_dict())
    flop = sum(counts.values()) * args.batch_size
    device = torch.device(args.device or get_device())
    if args.dtype == 'float16' and device.type == 'cpu':
        raise ValueError(
            '--dtype: expected float32 or bfloat16 on a CPU, got float16, which takes '
            'minutes for a product there'
        )
    dtype = args.dtype or ('bfloat16' if device.type == 'cuda' else 'float32')
    common = dict(
        cfg=steps.as_dict(cfg),
        batch_size=args.batch_size,
        device=str(device),
        dtype=dtype,
        compile=args.compile,
    )
    workers = {
        which: Worker(
            steps.serve,
            malloc,
            args.threads,
            which=which,
            onednn=args.onednn in (which, 'both'),
            **common,
        )
        for which in ('baseline', 'ours')
    }
    losses = {name: worker.request('loss') for name, worker in workers.items()}
    tolerance = 1e-5 if dtype == 'float32' else 1e-2
    if not math.isclose(losses['ours'], losses['baseline'], rel_tol=tolerance):
        raise ValueError(f'expected equal losses, got {losses}')
    # The first two steps allocate memory and the optimizer's state.
    seconds = interleave(workers, args.steps, warm_up=3 if args.compile else 2)
    rate = summarize([workers['ours'].request('rate') for _ in range(5)])
    peaks = {name: worker.request('peak') for name, worker in workers.items()}
    for worker in workers.values():
        worker.close()

    print(f'\n{args.config}: batch {args.batch_size}, {dtype}, malloc {malloc}')
    print(f'loss, same weights and mask: {losses["ours"]:.6f} both')
    print(f'{"":<10}{"s per step: median (range)":<32}{"clips/s":>9}{"peak GB":>9}')
    for name, values in seconds.items():
        summary = summarize(values)
        speed = args.batch_size / summary.median
        print(f'{name:<10}{summary!s:<32}{speed:>9.3g}{peaks[name] / 1e9:>9.2f}')
    speed_up = ratio(seconds['baseline'], seconds['ours'])
    print(f'speed-up, round by round: {speed_up} x')
    achieved = flop / summarize(seconds['ours']).median
    print(
        f'matrix product: {rate.median / 1e9:.0f} GFLOP/s; ours: '
        f'{achieved / 1e9:.0f} GFLOP/s, {achieved / rate.median:.0%} of it'
    )
    shares = ', '.join(
        f'{name} {count / sum(counts.values()):.0%}' for name, count in counts.items()
    )
    print(f'{flop / 1e9:.3g} GFLOP per step: {shares}')


def compare_overhead(args: Namespace, malloc: str) -> None:
    """Print what MMEngine's runner adds to an iteration."""
    cfg = launch.load_config(args)
    cfg.train_dataloader.batch_size = args.batch_size
    run = overhead.toy_run(cfg, args.iterations)
    workers = {
        'bare loop': Worker(overhead.serve_bare, malloc, args.threads, cfg=run),
        'ours': Worker(
            overhead.serve_runner, malloc, args.threads, cfg=run, options={}
        ),
        'MMEngine': Worker(
            overhead.serve_runner, malloc, args.threads, cfg=run, options=overhead.STOCK
        ),
    }
    seconds = interleave(workers, args.steps)
    for worker in workers.values():
        worker.close()
    print(
        f'\n{args.config}: batch {args.batch_size}, {args.iterations} iterations '
        f'per round, malloc {malloc}'
    )
    print(f'{"":<12}{"ms per iteration: median (range)":<38}against the bare loop')
    for name, values in seconds.items():
        summary = summarize([1e3 * value / args.iterations for value in values])
        times = ratio(values, seconds['bare loop'])
        print(f'{name:<12}{summary!s:<38}{times} x')


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    args = parse_args(argv)
    default = CONFIGS['overhead' if args.overhead else args.model]
    args.config = args.config or os.path.relpath(ROOT / default)
    compare = compare_overhead if args.overhead else compare_steps
    threads = args.threads or torch.get_num_threads()
    print(f'PyTorch {torch.__version__}, {threads} threads, {args.steps} rounds')
    with launch.errors_in_one_line(FileNotFoundError, ValueError, RuntimeError):
        for malloc in MALLOC if args.malloc == 'both' else [args.malloc]:
            compare(args, malloc)


if __name__ == '__main__':
    main()
