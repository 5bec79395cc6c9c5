"""What to do about videos that cannot be read."""

from __future__ import annotations

import logging
import os
import random
from math import ceil
from typing import Any

import numpy as np
import torch
from mmaction.datasets import BaseActionDataset
from mmaction.structures import ActionDataSample
from mmengine.logging import print_log
from torch import Tensor
from torch.utils.data import get_worker_info

from projects.adamae_command import tool_name

from ..video.error import VideoError
from .bad_videos import BadVideo
from .from_config import iter_built, video_name
from .loading import UnopenableVideoError, UnreachableVideoError, guard_loading

# With nine unreadable videos in ten, one sample in 40,000 comes to this.
_MAX_FAILURES_IN_A_ROW = 100

# Share of a list that may be bad; what a short list may have nevertheless.
_MAX_SHARE = 0.01
_MAX_COUNT, _MAX_SHARE_OF_SHORT = 10, 0.1

ALLOW_MORE = (
    'allow more with --cfg-options default_hooks.unreadable_videos.max_share=SHARE'
)


def max_unreadable(total: int, share: float | None = None) -> int:
    """Give how many videos of a training list may be bad before a run stops.

    Args:
        total (int): videos in the list.
        share (float, optional): of them that may be bad. Defaults to None: 1%, or as
            many as are 10 videos and a tenth (rounded up) of a short list.

    Returns:
        int: a number of videos.
    """
    if share is not None:
        return int(share * total)
    short = min(_MAX_COUNT, ceil(_MAX_SHARE_OF_SHORT * total))
    return max(int(_MAX_SHARE * total), short)


def watch(dataset: Any, num_workers: int) -> None:
    """Have datasets note what is read by each worker of a loader that starts.

    Args:
        dataset (Dataset): as the loader has it, perhaps with wrappers.
        num_workers (int): of the loader.
    """
    for part in iter_built(dataset):
        if isinstance(part, UnreadableVideos):
            part.reading = torch.full((num_workers,), -1).share_memory_()


def reject_read_by(worker: int, dataset: Any, reason: str) -> str | None:
    """Keep a dataset from opening the video again that a worker was reading.

    For failures that the dataset cannot see: a decoder that ended or blocked its
    process. To be called in the main process, before it starts other workers;
    ``UnreadableVideosHook`` logs and counts it.

    Args:
        worker (int): number of the worker, see :func:`watch`.
        dataset (Dataset): as the loader has it.
        reason (str): one line, for the log and ``bad_videos.txt``.

    Returns:
        str | None: name of the file; None if it was reading none.
    """
    for part in iter_built(dataset):
        if isinstance(part, UnreadableVideos) and part.reading[worker] >= 0:
            return part.reject(int(part.reading[worker]), reason)
    return None


class UnreadableDataSample(ActionDataSample):
    """Label and name of a video that could not be read; every prediction is wrong.

    Its metainfo has ``unreadable``, the error. Predicted scores become 0, and -inf for
    the labels: these come last in any ranking. The predicted label becomes -1.
    """

    def set_pred_score(self, value: Tensor) -> UnreadableDataSample:
        """Set scores that are wrong.

        Args:
            value (Tensor): what was predicted, shape (..., C).
        """
        labels = self.gt_label
        if len(labels) == value.shape[-1] > 1:  # many-hot
            labels = labels.nonzero().flatten()
        score = torch.zeros_like(value)
        score[..., labels[labels >= 0].long()] = float('-inf')
        return super().set_pred_score(score)

    def set_pred_label(self, value: Tensor) -> UnreadableDataSample:
        """Set a label that is none, whatever was predicted."""
        return super().set_pred_label(-torch.ones_like(value))


class UnreadableVideos(BaseActionDataset):
    """Name unreadable videos, and replace them by others while training.

    One damaged file among thousands would otherwise end a run after days, with a
    decoder's message that does not name it. Such files are missing, must not be read,
    or cannot be decoded by one of the loaders of :func:`.guard_loading`; any other
    error passes as it is. While testing no video is replaced: it is an error, or, with
    ``keep_unreadable``, a sample that no prediction can be right for.

    While training, another video is drawn from the same dataset. A file that cannot be
    opened is not opened again, by no worker of this process; one of which only the
    frames asked for cannot be decoded is, as others may be. What is drawn at random
    does not depend on what was known before: opening a file in vain uses up nothing.
    The sample that takes the place has ``bad_videos`` in its metainfo, a list
    of those that this worker has not reported yet; ``UnreadableVideosHook`` counts
    them, and ends a run that has too many.

    Attributes:
        keep_unreadable (bool): while testing, go on with an
            :class:`UnreadableDataSample`. ``UnreadableVideosHook`` sets it, and reports
            what was found.
        reading (Tensor): number of the video that each worker of a loader reads, be it
            in place of another; -1: none. Of :func:`watch`, empty without.
    """

    keep_unreadable = False
    reading = torch.zeros(0, dtype=torch.int64)
    _last_readable: int | None = None
    _flags = torch.zeros(0, dtype=torch.uint8)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._reported: set[int] = set()
        self._rejected: dict[int, str] = {}
        self._unreported: list[BadVideo] = []
        self._failures_in_a_row = 0
        self._last_reason = ''  # found by this process
        super().__init__(*args, **kwargs)
        self.pipeline.transforms = guard_loading(self.pipeline.transforms)

    def full_init(self) -> None:
        """Read the list of videos; what workers find out about them is shared."""
        super().full_init()
        self._shared_flags()

    def prepare_data(self, idx: int) -> Any:
        """Load a video.

        Args:
            idx (int): its number.

        Returns:
            dict | None: what the pipeline gives; None, for another one to be taken,
            if the file cannot be read while training.

        Raises:
            VideoError: if it cannot be read while testing, unless
                ``keep_unreadable``; names the file. While training: if that happens to
                so many in a row that it is hardly chance.
            UnreachableVideoError: if that is not the fault of the file.
        """
        if self.test_mode:
            try:
                return self._load(idx)
            except UnreachableVideoError:
                raise
            except VideoError as error:
                if self.keep_unreadable:
                    return self._pack_unreadable(idx, error)
                raise
        flags = self._shared_flags()
        if not flags[idx]:
            states = random.getstate(), np.random.get_state(), torch.get_rng_state()
            try:
                packed = self._load(idx)
            except UnreachableVideoError:
                raise
            except VideoError as error:
                self._last_reason = str(error)
                in_part = not isinstance(error, UnopenableVideoError)
                if idx not in self._reported:
                    self._reported.add(idx)
                    video = BadVideo.of(self._name(idx), str(error), in_part)
                    self._unreported.append(video)
                if not in_part:  # as if that had been known
                    flags[idx] = True
                    random.setstate(states[0])
                    np.random.set_state(states[1])
                    torch.set_rng_state(states[2])
            else:
                self._failures_in_a_row = 0
                return self._with_report(packed)
        self._failures_in_a_row += 1
        if self._failures_in_a_row > _MAX_FAILURES_IN_A_ROW:
            last = self._last_reason or self._name(idx)
            raise VideoError(
                f'expected readable videos, got {self._failures_in_a_row} in a row '
                f'that are not, the last {last}; rewrite them as H.264 in MP4 (with '
                f'{tool_name("data/transcode.py")} if FFmpeg reads them, else with a '
                'program that plays them), or name other videos'
            )
        return None

    def reject(self, idx: int, reason: str) -> str:
        """Keep a video from being opened again; returns its name."""
        name = self._name(idx)
        self._rejected[idx] = f'{name}: expected a readable video, got: {reason}'
        if not self.test_mode:
            self.mark_bad(idx)
            video = BadVideo.of(name, self._rejected[idx], in_part=False)
            self._unreported.append(video)
        return name

    def mark_bad(self, idx: int) -> None:
        """Do as if a video had failed and was reported."""
        self._shared_flags()[idx] = True

    def pop_unreported(self) -> list[BadVideo]:
        """Give what this process has found and no sample has taken along."""
        videos, self._unreported = self._unreported, []
        return videos

    def _shared_flags(self) -> Tensor:
        """Give a 1 for each video that is not opened again, in memory of all workers.

        A subset of a dataset has other numbers and begins anew.
        """
        if len(self._flags) != len(self) and not self.test_mode:
            self._flags = torch.zeros(len(self), dtype=torch.uint8).share_memory_()
        return self._flags

    def _name(self, idx: int) -> str:
        return video_name(self.get_data_info(idx))

    def _load(self, idx: int) -> Any:
        if idx in self._rejected:
            raise UnopenableVideoError(self._rejected[idx])
        worker = get_worker_info()
        note = self.reading[worker.id : worker.id + 1] if worker else self.reading[:0]
        note.fill_(idx)
        try:
            return super().prepare_data(idx)
        except VideoError as error:
            if not isinstance(error, UnreachableVideoError):
                self._require_root(error)
            raise
        finally:
            note.fill_(-1)

    def _require_root(self, error: VideoError) -> None:
        """Do not blame a video for the loss of the folder that all of them are in."""
        for name, root in self.data_prefix.items():
            if not isinstance(root, str) or not root or '://' in root:
                continue
            try:
                with os.scandir(root) as entries:
                    problem = '' if any(True for _ in entries) else 'it is empty'
            except OSError as root_error:
                problem = os.strerror(root_error.errno or 0)
            if problem:
                raise UnreachableVideoError(
                    f'data_prefix.{name}: expected the videos below {root}, got: '
                    f'{problem}; mount or restore it, then resume'
                ) from error

    def _with_report(self, packed: Any) -> Any:
        """Let a sample take along what was found on the way to it."""
        if not self._unreported:
            return packed
        first = packed[0] if isinstance(packed, list) else packed
        sample = first.get('data_samples')
        videos = self.pop_unreported()
        if sample is None:  # of a pipeline without PackActionInputs
            for video in videos:
                text = f'{video}; another video takes its place'
                print_log(text, 'current', logging.WARNING)
        else:
            sample.set_metainfo(dict(bad_videos=videos))
        return packed

    def _pack_unreadable(self, idx: int, error: VideoError) -> dict:
        """Pack label and name of a video, with pixels of another to fill the batch."""
        rest = (number % len(self) for number in range(idx + 1, idx + len(self)))
        last = [] if self._last_readable is None else [self._last_readable]
        for other in (*last, *rest):
            try:
                packed = self._load(other)
            except UnreachableVideoError:
                raise
            except VideoError:
                continue
            self._last_readable = other
            info = self.get_data_info(idx)
            meta = dict(packed['data_samples'].metainfo)
            if 'filename' in meta:
                meta['filename'] = video_name(info)
            sample = UnreadableDataSample(metainfo={**meta, 'unreadable': str(error)})
            sample.set_gt_label(info['label'])
            return {**packed, 'data_samples': sample}
        raise VideoError(f'{error}; nor can any other video of {len(self)}') from error
