"""Random draws that do not depend on interruptions, nor on validation."""

from __future__ import annotations

from typing import Any

from mmaction.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from ...utils.randomness import seed_generators
from ..loops.resumable import ResumableLoop


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Seed every iteration with its number, and save where in its data a run is.

    All that is drawn in an iteration (masks, dropout, blending) depends on seed, rank
    and iteration; what the loader draws, on the place of the sample too, see
    :class:`.ResumableDataLoader`. So a run that is killed and resumed draws what one
    does that is not. MMEngine seeds a resumed run as it seeded the first.

    Validation has its own, fixed seed: metrics compare over epochs.
    """

    # After GradientBucketsHook, which draws, and before all that keep random states.
    priority = 5

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Seed with the iteration."""
        # 0, where the samples of the batch have their places from 1 on.
        seed_generators(runner.seed, get_rank(), runner.iter, 0)

    def before_val(self, runner: Runner) -> None:
        """Seed with nothing that changes."""
        seed_generators(get_rank())

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the place in the data; between two epochs, that is the next one's."""
        loop, meta = runner.train_loop, checkpoint['meta']
        if isinstance(loop, ResumableLoop):
            position = loop.data_position()
            starts = meta['iter'] == meta['epoch'] * position['length']
            if starts and isinstance(loop, EpochBasedTrainLoop):
                position['samples'] = 0
            meta['data_position'] = position
