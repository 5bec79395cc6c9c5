"""A folder of videos as a dataset."""

from __future__ import annotations

from typing import Any

from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS
from mmengine.logging import print_log

from ..video.folder import describe_skipped, scan_folder
from .unreadable import UnreadableVideos


@DATASETS.register_module()
class VideoFolderDataset(UnreadableVideos, VideoDataset):
    """All videos below a folder, without labels, in the order of their names.

    Unreadable files are treated as :class:`UnreadableVideos` says.

    Args:
        data_prefix (dict): ``dict(video=FOLDER)``.
        pipeline (list[dict]): the transforms.
        ann_file (str, optional): None or '', as a config may inherit one. Defaults to
            ''.
        **kwargs: as in MMAction2's ``VideoDataset``.

    Raises:
        FileNotFoundError: if the folder does not exist or holds no video.
        ValueError: if there is an ``ann_file``.
    """

    def __init__(
        self,
        data_prefix: dict,
        pipeline: list,
        ann_file: str | None = '',
        **kwargs: Any,
    ) -> None:
        if ann_file:
            raise ValueError(
                f'{type(self).__name__}: expected no ann_file, as it takes all videos '
                f'of a folder, got {ann_file!r}; set ann_file=None, or use '
                'TolerantVideoDataset'
            )
        super().__init__(
            ann_file='', data_prefix=data_prefix, pipeline=pipeline, **kwargs
        )

    def load_data_list(self) -> list[dict]:
        """List ``filename`` and ``label`` (-1) of every video; log how many."""
        folder = self.data_prefix['video']
        files, skipped = scan_folder(folder, 'data_prefix.video')
        print_log(
            f'data_prefix.video: found {len(files)} videos in {folder}, skipped '
            f'{describe_skipped(skipped)}',
            'current',
        )
        return [dict(filename=name, label=-1) for name in files]
