"""Random numbers that neither repeat after a resume nor depend on validation."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Keep the draws of masks, crops and dropout apart.

    MMEngine seeds a resumed run as it seeded the first: it would draw the masks and
    crops of the first epochs again. And masks drawn in validation come from the stream
    of training. With this hook a resumed run, and the loader workers of every epoch,
    are seeded with the iteration too; validation has its own, fixed seed, so that
    metrics compare over epochs and training does not depend on when they are taken.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Seed a resumed run with the iteration it resumes at."""
        if runner.iter:
            set_random_seed(_mix(runner))

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the workers that this epoch starts."""
        init = runner.train_dataloader.worker_init_fn
        if runner.iter and isinstance(init, partial):
            runner.train_dataloader.worker_init_fn = partial(
                init.func, *init.args, **{**init.keywords, 'seed': _mix(runner)}
            )

    def before_val(self, runner: Runner) -> None:
        """Set the stream of training aside."""
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        self._aside: Any = torch.random.fork_rng(devices)
        self._aside.__enter__()
        torch.manual_seed(get_rank())

    def after_val(self, runner: Runner) -> None:
        """Take the stream of training up again."""
        self._aside.__exit__(None, None, None)


def _mix(runner: Runner) -> int:
    """Make a seed of seed (which holds the rank) and iteration, in [0, 2^32)."""
    # A large prime: seeds of neighbouring ranks and iterations never meet.
    return (runner.seed + 1_000_003 * runner.iter) % 2**32
