"""Train, validate and test to the end, whatever single videos are like."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

from mmaction.datasets import RepeatAugDataset
from mmaction.registry import HOOKS
from mmengine.dist import (
    all_gather_object,
    broadcast_object_list,
    get_rank,
    is_main_process,
)
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner

from ...datasets.bad_videos import (
    BadVideo,
    append_bad_videos,
    read_bad_videos,
    write_bad_videos,
)
from ...datasets.from_config import iter_built, video_name
from ...datasets.resumable_loader import ResumableDataLoader
from ...datasets.unreadable import ALLOW_MORE, UnreadableVideos, max_unreadable
from ...evaluation.masking_metric import MaskingMetric
from ...utils.text import some
from ...video.error import VideoError
from .safe_checkpoint_hook import SafeCheckpointHook

_FILE = 'bad_videos.txt'


@HOOKS.register_module()
class UnreadableVideosHook(Hook):
    """Count videos that cannot be read, list them, and end what has too many of them.

    In training, a dataset of :class:`.UnreadableVideos`, such as
    ``TolerantVideoDataset``, replaces them. Each is named once in the log and in
    ``bad_videos.txt`` in the work folder (name, reason, size and time, with tabs
    between), whichever process found it. Those in this file are not opened when the run
    is resumed, unless they have changed.

    A validation or test set of :class:`.UnreadableVideos` is read to its end, also if a
    video brings a worker of the loader down. What could not be read counts as wrong in
    every metric of ``pred_score`` or ``pred_label`` (except a top k of no more than k
    classes, which cannot be wrong; and ``MaskingMetric``, which leaves it out), is
    named in a warning, and is counted as ``val/unreadable`` or ``test/unreadable``
    beside the metrics.

    Args:
        skip_unreadable (bool): whether a test succeeds nevertheless. A validation while
            training always does. Defaults to False.
        max_share (float, optional): share of the training videos that may be bad.
            Defaults to None: see :func:`.max_unreadable`.
        interval (int): steps after which several processes tell each other what they
            found. Defaults to 50.

    Raises:
        VideoError: while training, if too many videos are bad;
            ``SafeCheckpointHook``, if there is one, saves before. At the end of a
            test, after metrics and dump are written, unless ``skip_unreadable``.
        ValueError: if ``max_share`` is no share.
    """

    def __init__(
        self,
        skip_unreadable: bool = False,
        max_share: float | None = None,
        interval: int = 50,
    ) -> None:
        # False for NaN.
        if max_share is not None and not 0 <= max_share <= 1:
            raise ValueError(
                'UnreadableVideosHook.max_share: expected a share from 0 to 1, got '
                f'{max_share}'
            )
        self.skip_unreadable = skip_unreadable
        self.max_share = max_share
        self.interval = interval
        self._found: list[BadVideo] = []

    def before_train(self, runner: Runner) -> None:
        """Take over what an earlier run of this folder found out."""
        self._parts = [
            part
            for part in iter_built(runner.train_dataloader.dataset)
            if isinstance(part, UnreadableVideos)
        ]
        self._total = sum(map(len, self._parts))
        self._path = os.path.join(runner.work_dir, _FILE)
        self._bad: dict[str, BadVideo] = {}
        self._places: dict[str, list[tuple[UnreadableVideos, int]]] = {}
        known: list[Any] = [self._read(runner) if is_main_process() else None]
        broadcast_object_list(known)
        if known[0]:
            self._bad = {video.name: video for video in known[0]}
            self._mark(known[0])
            runner.logger.info(
                f'{self._path}: {len(known[0])} of {self._total} training videos are '
                'bad; they are not opened again unless they change'
            )
            self._limit(runner)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Remember what was replaced in this batch, and sometimes look at all of it."""
        samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else ()
        for sample in samples or ():
            self._found += getattr(sample, 'bad_videos', ())
        for part in self._parts:
            self._found += part.pop_unreported()
        if runner.world_size == 1:
            due = bool(self._found)
        else:  # for all of them in the same step
            due = self.every_n_train_iters(runner, self.interval) or (
                self.end_of_epoch(runner.train_dataloader, batch_idx)
                or self.is_last_train_iter(runner)
            )
        if due:
            self._exchange(runner)

    def _exchange(self, runner: Runner) -> None:
        """Let all processes know what each has found; name it, and stop if need be."""
        own = {video.name for video in self._found}
        found = [*chain(*all_gather_object(self._found))]
        self._found = []
        new = {video.name: video for video in found if video.name not in self._bad}
        if not new:
            return
        self._bad.update(new)
        self._mark([video for name, video in new.items() if name not in own])
        for video in new.values():  # the logger of the first process only
            runner.logger.warning(f'{video}; another video takes its place')
        if is_main_process():
            try:
                append_bad_videos(self._path, new.values())
            except OSError as error:
                runner.logger.warning(f'{self._path}: cannot be kept: {error}')
        self._limit(runner, save=True)

    def _read(self, runner: Runner) -> list[BadVideo]:
        """Read the list, and remove what is of no more use from it."""
        try:
            known = read_bad_videos(self._path)
            places = self._find([video.name for video in known])
            kept = [v for v in known if v.name in places and not v.has_changed()]
            if kept != known:
                write_bad_videos(self._path, kept)
        except OSError as error:  # of what the run can do without
            runner.logger.warning(f'{self._path}: cannot be kept: {error}')
            return []
        return kept

    def _mark(self, videos: list[BadVideo]) -> None:
        """Keep the workers of this process from opening what others could not open."""
        names = [video.name for video in videos if not video.in_part]
        for part, index in chain(*self._find(names).values()):
            part.mark_bad(index)

    def _find(self, names: list[str]) -> dict[str, list[tuple[UnreadableVideos, int]]]:
        """Find videos in the datasets by their names, all of which are read once."""
        if names and not self._places:
            for part in self._parts:
                for index in range(len(part)):
                    name = video_name(part.get_data_info(index))
                    self._places.setdefault(name, []).append((part, index))
        return {name: self._places[name] for name in names if name in self._places}

    def _limit(self, runner: Runner, save: bool = False) -> None:
        """Stop if too many videos are bad."""
        limit = max_unreadable(self._total, self.max_share)
        if len(self._bad) <= limit:
            return
        error = VideoError(
            f'{len(self._bad)} of {self._total} training videos cannot be read, more '
            f'than the {limit} allowed: {some(self._bad)}; {self._path} has all of '
            'them and the reasons. Repair them or take them out of the list, or '
            f'{ALLOW_MORE}; then resume'
        )
        for hook in runner.hooks if save else ():
            if isinstance(hook, SafeCheckpointHook):
                hook.end_with(error)
                return
        raise error

    def before_val(self, runner: Runner) -> None:
        """Let the validation set go on."""
        self._begin(runner.val_loop)

    def before_test(self, runner: Runner) -> None:
        """Let the test set go on."""
        self._begin(runner.test_loop)

    def _begin(self, loop: BaseLoop) -> None:
        self.errors: list[str] = []
        self.total = 0
        loader = loop.dataloader
        if loader.num_workers and not isinstance(loader, ResumableDataLoader):
            # Its workers may die; what they draw is the same in every epoch.
            loop.dataloader = ResumableDataLoader(loader, lambda: (0, get_rank(), 0))
        for part in iter_built(loader.dataset):
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
        samples = () if outputs is None else outputs  # features are a tensor
        self.errors += [getattr(sample, 'unreadable', '') for sample in samples]

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
        metrics = getattr(runner, f'{split}_evaluator').metrics
        leaving = sum(isinstance(metric, MaskingMetric) for metric in metrics)
        parts = ['count as wrong'] * (leaving < len(metrics) or not leaving)
        parts += ['are left out of MaskingMetric'] * (leaving > 0)
        runner.logger.info(
            f'{split}: {len(errors)} of {size} videos could not be read and '
            f'{" and ".join(parts)}'
        )
