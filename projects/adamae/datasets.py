"""A folder of videos as a data set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS
from mmengine.logging import print_log

VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm')


@DATASETS.register_module()
class VideoFolderDataset(VideoDataset):
    """All videos below a folder, without labels, in the order of their names.

    A file that cannot be read is named in a warning and replaced by another one while
    training; while testing it is an error.

    Args:
        data_prefix (dict): ``dict(video=FOLDER)``.
        pipeline (list[dict]): the transforms.
        **kwargs: as in MMAction2's ``VideoDataset``, without ``ann_file``.

    Raises:
        FileNotFoundError: if the folder does not exist or holds no video.
    """

    def __init__(self, data_prefix: dict, pipeline: list, **kwargs: Any) -> None:
        super().__init__(
            ann_file='', data_prefix=data_prefix, pipeline=pipeline, **kwargs
        )

    def load_data_list(self) -> list[dict]:
        """List the videos.

        Returns:
            list[dict]: ``filename`` and ``label`` (-1) of every video.
        """
        folder = Path(self.data_prefix['video'])
        if not folder.is_dir():
            raise FileNotFoundError(
                f'data_prefix.video: expected a folder of videos, found none at '
                f'{folder.resolve()}'
            )
        # os.walk and not Path.rglob: it follows links, as large collections use them.
        files = sorted(
            os.path.join(root, name)
            for root, _, names in os.walk(folder, followlinks=True)
            for name in names
            if name.lower().endswith(VIDEO_SUFFIXES)
        )
        if not files:
            raise FileNotFoundError(
                f'data_prefix.video: {folder.resolve()} holds no video '
                f'({" ".join(VIDEO_SUFFIXES)})'
            )
        return [dict(filename=name, label=-1) for name in files]

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
        except Exception as error:  # decord raises a class of its own
            filename = self.get_data_info(idx)['filename']
            message = f'{filename}: cannot be read ({str(error).strip()[:200]})'
            if self.test_mode:
                raise RuntimeError(message) from error
            print_log(
                f'{message}; another video takes its place',
                logger='current',
                level=30,
            )
            return None
