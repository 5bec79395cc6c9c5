"""What to do about videos that cannot be read."""

from __future__ import annotations

from typing import Any

from decord import DECORDError
from mmaction.datasets import BaseActionDataset
from mmengine.logging import print_log


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
        """
        try:
            return super().prepare_data(idx)
        except (DECORDError, OSError, RuntimeError) as error:
            filename = self.get_data_info(idx)['filename']
            message = f'{filename}: cannot be read ({str(error).strip()[:200]})'
            if self.test_mode:
                raise RuntimeError(message) from error
            print_log(
                f'{message}; another video takes its place', logger='current', level=30
            )
            return None
