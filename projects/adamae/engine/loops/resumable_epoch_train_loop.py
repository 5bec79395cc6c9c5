"""Epochs that can be interrupted at any iteration."""

from __future__ import annotations

from mmaction.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop

from .resumable import ResumableLoop


@LOOPS.register_module()
class ResumableEpochTrainLoop(ResumableLoop, EpochBasedTrainLoop):
    """``EpochBasedTrainLoop`` that goes on in the middle of an epoch.

    A resumed run draws what an unbroken one does, see ``ResumableDataLoader``, and goes
    on at the iteration where its checkpoint was saved; MMEngine's begins the epoch once
    more. Arguments as in MMEngine.
    """

    def run_epoch(self) -> None:
        """Train for an epoch, or for the rest of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        for index, batch in enumerate(self.dataloader, done):
            self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
