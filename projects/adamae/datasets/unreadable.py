"""What to do about videos that cannot be read."""

from __future__ import annotations

from typing import Any

from decord import DECORDError
from mmaction.datasets import BaseActionDataset
from mmengine.logging import print_log

# What decord raises itself, of a file it cannot open or that has no frame.
_AMBIGUOUS = RuntimeError, AssertionError


class UnreadableVideos(BaseActionDataset):
    """Name unreadable videos, and replace them by others while training.

    One damaged file among thousands would otherwise end a run after days, with a
    decoder's message that does not name it. While testing it is an error: a test
    video is never replaced.
    """

    def prepare_data(self, idx: int) -> Any:
        """Load a video.

        Args:
            idx (int): its number.

        Returns:
            dict | None: what the pipeline gives; None, for another one to be taken,
            if the file cannot be read while training.

        Raises:
            RuntimeError: if it cannot be read while testing; names the file.
            Exception: whatever else a transform raises, as it is.
        """
        try:
            return super().prepare_data(idx)
        except (DECORDError, OSError, *_AMBIGUOUS) as error:
            if isinstance(error, _AMBIGUOUS) and not _is_decords(error):
                raise
            filename = self.get_data_info(idx)['filename']
            message = f'{filename}: cannot be read ({str(error).strip()[:200]})'
            if self.test_mode:
                raise RuntimeError(message) from error
            print_log(
                f'{message}; another video takes its place', logger='current', level=30
            )
            return None


def _is_decords(error: Exception) -> bool:
    """Say whether decord raised it: a mistake in a transform may be of its type."""
    traceback = error.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    module = traceback.tb_frame.f_globals.get('__name__', '') if traceback else ''
    return module.partition('.')[0] == 'decord'
