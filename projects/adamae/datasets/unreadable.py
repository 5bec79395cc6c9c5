"""What to do about videos that cannot be read."""

from __future__ import annotations

import logging
from typing import Any

from mmaction.datasets import BaseActionDataset
from mmengine.logging import print_log

from ..video.error import VideoError
from .checked_decord import check_decord

# With nine unreadable videos in ten, one sample in 40,000 comes to this.
_MAX_FAILURES_IN_A_ROW = 100


class UnreadableVideos(BaseActionDataset):
    """Name unreadable videos, and replace them by others while training.

    One damaged file among thousands would otherwise end a run after days, with a
    decoder's message that does not name it. Such files are missing, must not be read,
    or cannot be decoded by ``PyAVSkipInit`` and ``PyAVSkipDecode``, or by decord's
    transforms, which are checked, see :class:`.CheckedDecord`; any other error passes
    as it is. While testing no video is replaced.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._named: set[int] = set()
        self._failures_in_a_row = 0
        super().__init__(*args, **kwargs)
        self.pipeline.transforms = check_decord(self.pipeline.transforms)

    def prepare_data(self, idx: int) -> Any:
        """Load a video.

        Args:
            idx (int): its number.

        Returns:
            dict | None: what the pipeline gives; None, for another one to be taken,
            if the file cannot be read while training.

        Raises:
            VideoError: if it cannot be read while testing; names the file. While
                training: if that happens to so many in a row that it is hardly chance.
        """
        try:
            data = super().prepare_data(idx)
        except VideoError as error:
            if self.test_mode:
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
        return data
