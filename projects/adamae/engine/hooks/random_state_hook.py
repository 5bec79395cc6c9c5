"""Random draws that neither repeat after a resume nor depend on validation."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial

import torch
from mmaction.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Seed with the iteration, and validation apart from training.

    MMEngine seeds a resumed run, and the loader workers of every epoch, as it seeded
    the first: they would draw the same masks and crops again. Here the seed depends on
    the iteration, too. Workers are seeded when they start: in every epoch, or, with
    ``persistent_workers=True``, in the first epoch of a run or of a resumed one; then
    their streams go on from epoch to epoch. In no case are draws repeated.

    Validation has its own, fixed seed: metrics compare over epochs, and training does
    not depend on when they are computed.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Seed a resumed run with the iteration it resumes at."""
        if runner.iter:
            set_random_seed(_mix(runner))

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the loader workers, if this epoch starts any."""
        loader = runner.train_dataloader
        # A worker_init_fn of the user's own need not take a seed.
        if runner.iter and 'seed' in getattr(loader.worker_init_fn, 'keywords', {}):
            loader.worker_init_fn = partial(loader.worker_init_fn, seed=_mix(runner))

    def before_val(self, runner: Runner) -> None:
        """Leave the random stream of training."""
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        self._training_stream = ExitStack()
        self._training_stream.enter_context(torch.random.fork_rng(devices))
        torch.manual_seed(get_rank())

    def after_val(self, runner: Runner) -> None:
        """Return to the random stream of training."""
        self._training_stream.close()


def _mix(runner: Runner) -> int:
    """Make a seed of seed (which holds the rank) and iteration, in [0, 2^32)."""
    # A large prime: seeds of neighboring ranks and iterations never meet.
    return (runner.seed + 1_000_003 * runner.iter) % 2**32
