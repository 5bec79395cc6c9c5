"""A folder of videos as a data set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS

from .unreadable import UnreadableVideos

VIDEO_SUFFIXES = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm')


@DATASETS.register_module()
class VideoFolderDataset(UnreadableVideos, VideoDataset):
    """All videos below a folder, without labels, in the order of their names.

    Unreadable files are treated as :class:`UnreadableVideos` says.

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
        files = find_videos(self.data_prefix['video'], 'data_prefix.video')
        return [dict(filename=name, label=-1) for name in files]


def find_videos(folder: str | Path, what: str) -> list[str]:
    """List the video files below a folder; links are followed.

    Args:
        folder (str | Path): where to look.
        what (str): what the folder is, for errors.

    Returns:
        list[str]: their paths, in the order of their names.

    Raises:
        FileNotFoundError: if the folder does not exist or holds no video.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f'{what}: expected a folder of videos, found none at {folder.resolve()}'
        )
    # Large collections are often made of links; each folder is looked into once.
    files, seen = [], set()
    for root, folders, names in os.walk(folder, followlinks=True):
        if os.path.realpath(root) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(root))
        files += [
            os.path.join(root, name)
            for name in names
            if name.lower().endswith(VIDEO_SUFFIXES)
        ]
    if not files:
        raise FileNotFoundError(
            f'{what}: {folder.resolve()} holds no video ({" ".join(VIDEO_SUFFIXES)})'
        )
    return sorted(files)
