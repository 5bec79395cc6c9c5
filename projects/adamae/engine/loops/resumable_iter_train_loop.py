"""Iterations without epochs that can be interrupted at any of them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from mmaction.registry import LOOPS
from mmengine.runner import IterBasedTrainLoop
from torch.nn import Module

from .resumable import ResumableLoop


@LOOPS.register_module()
class ResumableIterTrainLoop(ResumableLoop, IterBasedTrainLoop):
    """``IterBasedTrainLoop`` that reads nothing twice when it goes on.

    A resumed run draws what an unbroken one does, see ``ResumableDataLoader``. MMEngine
    decodes all that was trained on once more, and waits two seconds after every pass
    over the data. Arguments as in MMEngine.
    """

    def run(self) -> Module:
        """Launch training."""
        self.dataloader_iterator = self._batches(self._iter)
        try:
            return super().run()
        finally:
            self.dataloader_iterator.close()

    def _batches(self, done: int) -> Generator[Any, None, None]:
        # MMEngine asks for as many batches as were trained on before.
        for _ in range(done):
            yield None
        sampler = self.dataloader.batch_sampler.sampler
        while True:
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(self.passes)
            yield from self.dataloader
            self.passes += 1
