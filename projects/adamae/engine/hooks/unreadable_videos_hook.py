"""Validate and test to the end, whatever single videos are like."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

from mmaction.datasets import RepeatAugDataset
from mmaction.registry import HOOKS
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

from ...datasets.from_config import iter_built
from ...datasets.unreadable import UnreadableVideos
from ...video.error import VideoError


@HOOKS.register_module()
class UnreadableVideosHook(Hook):
    """Count videos that cannot be read as wrong, list them, and let a test fail.

    A validation or test set of :class:`.UnreadableVideos`, such as
    ``TolerantVideoDataset``, is read to its end. What could not be read counts as wrong
    in every metric of ``pred_score`` or ``pred_label`` (except a top k of no more
    than k classes, which cannot be wrong), is named in a warning, and is counted as
    ``val/unreadable`` or ``test/unreadable`` beside the metrics.

    Args:
        skip_unreadable (bool): whether a test succeeds nevertheless. A validation while
            training always does. Defaults to False.

    Raises:
        VideoError: at the end of a test, after metrics and dump are written, unless
            ``skip_unreadable``.
    """

    def __init__(self, skip_unreadable: bool = False) -> None:
        self.skip_unreadable = skip_unreadable

    def before_val(self, runner: Runner) -> None:
        """Let the validation set go on."""
        self._begin(runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        """Let the test set go on."""
        self._begin(runner.test_dataloader.dataset)

    def _begin(self, dataset: Dataset) -> None:
        self.errors: list[str] = []
        self.total = 0
        for part in iter_built(dataset):
            # One sample a video is needed, which repeated augmentation does not give.
            if isinstance(part, UnreadableVideos) and not isinstance(
                part, RepeatAugDataset
            ):
                part.keep_unreadable = True

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence | None = None,
    ) -> None:
        """Remember what could not be read."""
        self.errors += [getattr(sample, 'unreadable', '') for sample in outputs or ()]

    after_test_iter = after_val_iter

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Name and count it."""
        self._report(runner, 'val', len(runner.val_dataloader.dataset))

    def after_test_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Name and count it."""
        self._report(runner, 'test', len(runner.test_dataloader.dataset))

    def after_test(self, runner: Runner) -> None:
        """Let the test fail."""
        if self.total and not self.skip_unreadable:
            raise VideoError(
                f'{self.total} of {len(runner.test_dataloader.dataset)} test videos '
                'could not be read, those in the warnings above; they count as wrong. '
                'Replace them, or accept this with --skip-unreadable'
            )

    def _report(self, runner: Runner, split: str, size: int) -> None:
        # In the order of the dataset; what fills up the last batches is left out.
        shares = zip_longest(*all_gather_object(self.errors), fillvalue='')
        errors = [error for error in [*chain(*shares)][:size] if error]
        self.total = len(errors)
        name = f'{split}/unreadable'
        if errors or name in runner.message_hub.log_scalars:
            runner.message_hub.update_scalar(name, len(errors))
        if not errors:
            return
        for error in errors:
            runner.logger.warning(error)  # which leaves out what it said before
        runner.logger.info(
            f'{split}: {len(errors)} of {size} videos could not be read and count as '
            'wrong'
        )
