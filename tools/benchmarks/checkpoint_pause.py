"""Time how long training pauses for a checkpoint, with MMEngine's hook and with ours.

In one run, turn by turn, with the model and optimizer of a config. Steps that are
trained while ours is written are compared with undisturbed ones.
"""

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import iteration_overhead as overhead
import torch
from mmaction.registry import HOOKS, RUNNERS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from projects.adamae import launch
from projects.adamae_arguments import add_cfg_options

ROOT = Path(__file__).resolve().parents[2]


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        '--config', default=str(ROOT / 'configs/adamae_vitb_ssv2_pretrain.py')
    )
    parser.add_argument('--batch-size', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--folder', help='where to write (default: the temporary one)')
    add_cfg_options(parser)
    return parser.parse_args(argv)


class Done(Exception):
    """All rounds are done."""


class CompareHook(Hook):
    """Save with both hooks after a step, then time the steps that follow.

    Args:
        rounds (int): times that both save.
    """

    priority = 'LOWEST'

    def __init__(self, rounds: int) -> None:
        kinds = ('CheckpointHook', 'SafeCheckpointHook')
        self.hooks = [HOOKS.build(dict(type=k, max_keep_ckpts=1)) for k in kinds]
        self.rounds = rounds
        self.pauses: list[list[float]] = [[], []]
        self.writing: list[float] = []
        self.quiet: list[float] = []
        self.disturbed: list[float] = []

    def before_train(self, runner: Runner) -> None:
        """Give each a folder of its own."""
        for hook, name in zip(self.hooks, ('stock', 'ours'), strict=True):
            hook.out_dir = str(Path(runner.work_dir) / name)
            hook.before_train(runner)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Begin to measure a step."""
        self.start = time.perf_counter()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Note its time; after every third undisturbed one, save with both."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - self.start
        ours = self.hooks[1]
        if ours._writing is not None and ours._writing.is_alive():
            self.disturbed.append(seconds)
            return
        if ours._writing is not None:
            ours._writing.join()
            self.writing.append(ours._writing.seconds)
            ours._settle(runner)
        elif batch_idx:
            self.quiet.append(seconds)
        if len(self.writing) == self.rounds:
            raise Done
        if batch_idx % 3 or not batch_idx:
            return
        turns = list(zip(self.hooks, self.pauses, strict=True))
        for hook, pauses in turns[:: -1 if len(self.writing) % 2 else 1]:
            start = time.perf_counter()
            hook._save_checkpoint(runner)
            pauses.append(time.perf_counter() - start)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    args = parse_args(argv)
    cfg = launch.load_config(args)
    cfg.train_dataloader.batch_size = args.batch_size
    run = Config(overhead.toy_run(cfg, iterations=20 * args.rounds))
    run.custom_hooks = []
    compare = CompareHook(args.rounds)
    with TemporaryDirectory(dir=args.folder) as folder:
        run.work_dir, run.log_level = folder, 'ERROR'
        runner = RUNNERS.build(run)
        runner.register_hook(compare)
        with suppress(Done):
            runner.train()
        (path,) = Path(folder, 'ours').rglob('*.pth')
        size = path.stat().st_size / 1e9
    step, written = median(compare.quiet), median(compare.writing)
    stock, ours = (median(pauses) for pauses in compare.pauses)
    print(f'checkpoint: {size:.2f} GB; a step: {step:.2f} s')
    print(f'pause, MMEngine: {stock:.2f} s, {stock / step:.2f} of a step')
    print(f'pause, ours:     {ours:.2f} s, {ours / step:.2f} of a step; ', end='')
    print(f'{ours / stock:.2f} of MMEngine; written in {written:.2f} s')
    if compare.disturbed:
        other = median(compare.disturbed)
        print(f'a step meanwhile: {other:.2f} s, {other / step:.2f} of another')


if __name__ == '__main__':
    main()
