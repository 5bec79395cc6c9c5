"""What to do about videos that cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from decord import DECORDError, DECORDLimitReachedError
from mmaction.datasets import BaseActionDataset
from mmaction.datasets.transforms import DecordDecode, DecordInit
from mmengine.logging import print_log

from ..video.error import VideoError, video_errors

# The last two: of a file it cannot open, or that has no frame.
_DECORD_ERRORS = DECORDError, DECORDLimitReachedError, RuntimeError, AssertionError


class _DecordErrors:
    """MMAction2's decord transform, with errors that are the video's told apart."""

    def __init__(self, transform: Callable[[dict], Any]) -> None:
        self.transform = transform

    def __call__(self, results: dict) -> Any:
        with video_errors(results['filename'], *_DECORD_ERRORS):
            return self.transform(results)

    def __repr__(self) -> str:
        return repr(self.transform)


class UnreadableVideos(BaseActionDataset):
    """Name unreadable videos, and replace them by others while training.

    One damaged file among thousands would otherwise end a run after days, with a
    decoder's message that does not name it. Such files are missing, must not be read,
    or cannot be decoded by ``DecordInit`` and ``DecordDecode`` or by ``PyAVSkipInit``
    and ``PyAVSkipDecode``; any other error passes as it is. While testing no video is
    replaced.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pipeline.transforms = [
            _DecordErrors(t) if isinstance(t, (DecordInit, DecordDecode)) else t
            for t in self.pipeline.transforms
        ]

    def prepare_data(self, idx: int) -> Any:
        """Load a video.

        Args:
            idx (int): its number.

        Returns:
            dict | None: what the pipeline gives; None, for another one to be taken,
            if the file cannot be read while training.

        Raises:
            VideoError: if it cannot be read while testing; names the file.
        """
        try:
            return super().prepare_data(idx)
        except VideoError as error:
            if self.test_mode:
                raise
            print_log(
                f'{error}; another video takes its place', 'current', logging.WARNING
            )
            return None
