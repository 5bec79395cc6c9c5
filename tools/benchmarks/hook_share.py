"""Time what the hooks of a run take of its iterations, each as a share of the step.

The clips are in memory. The check of the gradients, which is made inside of the
step, is counted as a hook. On a GPU these are times of the host, most of which pass
while the device computes.
"""

import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import iteration_overhead as overhead
import torch
from mmaction.registry import RUNNERS
from mmengine.config import Config
from mmengine.runner import Runner

from projects.adamae import launch
from projects.adamae.engine.hooks.update_guard import UpdateGuard
from projects.adamae_arguments import add_cfg_options, whole_number

ROOT = Path(__file__).resolve().parents[2]
# What MMEngine's own hooks take is not our doing.
_STOCK = ('IterTimerHook', 'LoggerHook', 'ParamSchedulerHook', 'DistSamplerSeedHook')


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        '--config', default=str(ROOT / 'configs/adamae_vitb_ssv2_pretrain.py')
    )
    parser.add_argument('--batch-size', type=int, default=2)
    parser.add_argument(
        '--iterations',
        type=whole_number(3, 10**6),
        default=6,
        help='the first and the last are left out',
    )
    parser.add_argument('--threads', type=int, default=1)
    add_cfg_options(parser)
    return parser.parse_args(argv)


def measure(cfg: Config, iterations: int) -> tuple[Counter, float]:
    """Train, and add up the time of each hook in iterations.

    Args:
        cfg (Config): of a pre-training run.
        iterations (int): to train, at least 3.

    Returns:
        tuple[Counter, float]: seconds of each, and of everything, without the first
        iteration.
    """
    seconds: Counter = Counter()
    starts: list[float] = []

    def timed(name: str, function: Callable) -> Callable:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                seconds[name] += time.perf_counter() - start

        return call

    def call_hook(self: Runner, place: str, **kwargs: Any) -> None:
        if place == 'before_train_iter':
            starts.append(time.perf_counter())
            if len(starts) == 2:
                seconds.clear()
        for hook in self.hooks:
            call = getattr(hook, place)
            if place.endswith('_train_iter'):
                call = timed(type(hook).__name__, call)
            call(self, **kwargs)
        if place == 'after_train_epoch':
            self.train_loop.stop_training = True

    guard = timed('UpdateGuard', UpdateGuard._check)
    run = Config(overhead.toy_run(cfg, iterations))
    run.log_level = 'ERROR'
    run.default_hooks.checkpoint.save_last = False
    with (
        TemporaryDirectory() as folder,
        patch.object(Runner, 'call_hook', call_hook),
        patch.object(UpdateGuard, '_check', guard),
    ):
        run.work_dir = folder
        RUNNERS.build(run).train()
    return seconds, starts[-1] - starts[1]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    cfg = launch.load_config(args)
    cfg.train_dataloader.batch_size = args.batch_size
    seconds, total = measure(cfg, args.iterations)
    steps = args.iterations - 2  # from the start of the second to that of the last
    print(
        f'{args.config}, batch {args.batch_size}: {total / steps * 1e3:.1f} ms a step'
    )
    ours = sum(t for name, t in seconds.items() if name not in _STOCK)
    for name, value in [*seconds.most_common(12), ("all but MMEngine's", ours)]:
        print(f'{name:24} {value / steps * 1e3:9.3f} ms {value / total:9.3%}')


if __name__ == '__main__':
    main()
