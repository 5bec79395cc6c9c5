"""What to do about videos that cannot be read."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import cv2
import torch
from mmaction.datasets import BaseActionDataset
from mmaction.datasets.transforms import RawFrameDecode
from mmaction.structures import ActionDataSample
from mmengine.logging import print_log
from torch import Tensor

from ..video.error import VideoError, video_errors
from .checked_decord import check_decord
from .from_config import video_name

# With nine unreadable videos in ten, one sample in 40,000 comes to this.
_MAX_FAILURES_IN_A_ROW = 100


class _FrameErrors:
    """MMAction2's reader of frames, with errors that name the frame."""

    def __init__(self, transform: Callable[[dict], Any]) -> None:
        self.transform = transform

    def __repr__(self) -> str:
        return repr(self.transform)

    def __call__(self, results: dict) -> Any:
        with video_errors(results['frame_dir'], _FrameError):
            try:
                return self.transform(results)
            except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
                raise _FrameError(f'{error.filename}: {error.strerror}') from error
            except cv2.error as error:
                raise _FrameError(_first_damaged(results)) from error


class _FrameError(Exception):
    """A frame is missing or no picture."""


def _first_damaged(results: dict) -> str:
    """Name the frame that OpenCV could not decode."""
    numbers = results['frame_inds'].ravel() + results.get('offset', 0)
    for number in numbers:
        name = results['filename_tmpl'].format(number)
        path = os.path.join(results['frame_dir'], name)
        if os.path.isfile(path) and cv2.imread(path) is None:
            return f'{name}: no picture'
    return 'a frame that is no picture'


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
    or cannot be decoded by ``PyAVSkipInit`` and ``PyAVSkipDecode``, by
    ``RawFrameDecode``, or by decord's transforms, which are checked, see
    :class:`.CheckedDecord`; any other error passes as it is. While testing no video is
    replaced: it is an error, or, with ``keep_unreadable``, a sample that no prediction
    can be right for.

    Attributes:
        keep_unreadable (bool): while testing, go on with an
            :class:`UnreadableDataSample`. ``UnreadableVideosHook`` sets it, and reports
            what was found.
    """

    keep_unreadable = False
    _last_readable: int | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._named: set[int] = set()
        self._failures_in_a_row = 0
        super().__init__(*args, **kwargs)
        self.pipeline.transforms = [
            _FrameErrors(t) if isinstance(t, RawFrameDecode) else t
            for t in check_decord(self.pipeline.transforms)
        ]

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
        """
        try:
            packed = super().prepare_data(idx)
        except VideoError as error:
            if self.test_mode:
                if self.keep_unreadable:
                    return self._pack_unreadable(idx, error)
                raise
            self._failures_in_a_row += 1
            if self._failures_in_a_row > _MAX_FAILURES_IN_A_ROW:
                raise VideoError(
                    f'expected readable videos, got {self._failures_in_a_row} in a row '
                    f'that are not, the last {error}; rewrite them as H.264 in MP4 '
                    '(with tools/data/transcode.py if FFmpeg reads them, else with a '
                    'program that plays them), or name other videos'
                ) from error
            if idx not in self._named:
                self._named.add(idx)
                print_log(
                    f'{error}; another video takes its place',
                    'current',
                    logging.WARNING,
                )
            return None
        self._failures_in_a_row = 0
        self._last_readable = idx
        return packed

    def _pack_unreadable(self, idx: int, error: VideoError) -> dict:
        """Pack label and name of a video, with pixels of another to fill the batch."""
        rest = (number % len(self) for number in range(idx + 1, idx + len(self)))
        last = [] if self._last_readable is None else [self._last_readable]
        for other in (*last, *rest):
            try:
                packed = super().prepare_data(other)
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


def reject(dataset: Any, index: int, reason: str) -> str | None:
    """Stand-in."""
    return None
