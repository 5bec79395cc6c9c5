"""What the resumable loops share: their data, and where in it a run is."""

from __future__ import annotations

from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_rank, get_world_size
from mmengine.runner import BaseLoop, Runner
from torch.nn import Module
from torch.utils.data import DataLoader

from ...datasets.resumable_loader import ResumableDataLoader


class ResumableLoop(BaseLoop):
    """A training loop with a ``ResumableDataLoader``.

    Attributes:
        passes (int): complete passes over the data, where these are no epochs.
    """

    passes = 0

    def __init__(
        self, runner: Runner, dataloader: DataLoader | dict, *args: Any, **kwargs: Any
    ) -> None:
        BaseLoop.__init__(self, runner, dataloader)  # builds it
        loader = ResumableDataLoader(
            self.dataloader, lambda: (runner.seed, get_rank(), self.iter)
        )
        super().__init__(runner, loader, *args, **kwargs)

    def run(self) -> Module:
        """Launch training."""
        try:
            return super().run()
        finally:
            self.dataloader.close()

    @property
    def videos_per_iteration(self) -> int:
        """Videos that all processes together take; 0 if that varies."""
        return (
            getattr(self.dataloader.batch_sampler, 'batch_size', 0) * get_world_size()
        )

    def data_position(self) -> dict[str, Any]:
        """Tell where in its data the run is.

        Returns:
            dict: ``passes`` over the data before this one; ``samples`` of all processes
            in this one; the ``seed`` of their order; ``videos_per_iteration`` and
            iterations of a pass (``length``), by which the samples were counted.
        """
        return dict(
            passes=self.passes,
            samples=self.dataloader.samples_read * get_world_size(),
            seed=getattr(self.dataloader.batch_sampler.sampler, 'seed', None),
            videos_per_iteration=self.videos_per_iteration,
            length=len(self.dataloader),
        )

    def start_at(self, position: dict[str, Any]) -> int:
        """Go on from a place in the data.

        Args:
            position (dict): of :meth:`data_position`, maybe of another number of
                processes, or with other batches.

        Returns:
            int: the iterations of this pass that lie before it.
        """
        samples = position['samples'] // get_world_size()
        self.passes = position['passes']
        self.dataloader.skip(samples)
        batches = self.dataloader.batch_sampler
        if position['seed'] is not None:
            batches.sampler.seed = position['seed']
        if samples >= len(batches.sampler):  # the last batch may be a small one
            return len(batches)
        return samples * get_world_size() // max(self.videos_per_iteration, 1)

    def position_after(self, iterations: int) -> dict[str, Any]:
        """Make the position of a run that saved none, as those of MMEngine.

        Args:
            iterations (int): that are done; of this epoch, where there are epochs.
        """
        position, passes = self.data_position(), 0
        if not isinstance(self.dataloader.batch_sampler.sampler, InfiniteSampler):
            passes, iterations = divmod(iterations, position['length'])
        samples = iterations * self.videos_per_iteration
        return {**position, 'passes': passes, 'samples': samples, 'seed': None}
