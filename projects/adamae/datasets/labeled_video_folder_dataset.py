"""A folder of videos as a labeled dataset: the class is the name of the sub-folder."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from typing import NamedTuple

from mmaction.registry import DATASETS
from mmengine.logging import print_log

from ..utils.text import some
from ..video.folder import describe_skipped, scan_folder
from .video_folder_dataset import VideoFolderDataset


@DATASETS.register_module()
class LabeledVideoFolderDataset(VideoFolderDataset):
    """Videos below folders of classes, ``CLASS/.../VIDEO``, without a list of them.

    Classes are numbered in the order of their names, or of ``metainfo['classes']`` if
    that is given: a split that lacks a class needs it to have the numbers of the
    others. Classes without a video are named in the log. Unreadable files are treated
    as :class:`.UnreadableVideos` says.

    Args:
        data_prefix (dict): ``dict(video=FOLDER)``.
        pipeline (list[dict]): the transforms.
        **kwargs: as in :class:`.VideoFolderDataset`.

    Raises:
        FileNotFoundError: if the folder does not exist or holds no video.
        ValueError: if there is an ``ann_file``; if a video is in no folder of a class,
            or in one that is not among the given classes.
    """

    def load_data_list(self) -> list[dict]:
        """List ``filename`` and ``label`` of every video; log how many."""
        folder = self.data_prefix['video']
        found = scan_classes(folder, self._metainfo.get('classes'))
        self._metainfo['classes'] = found.classes
        print_log(
            f'data_prefix.video: found {len(found.files)} videos of '
            f'{len(found.classes)} classes in {folder}, skipped '
            f'{describe_skipped(found.skipped)}',
            'current',
        )
        counts = Counter(found.labels)
        empty = [name for k, name in enumerate(found.classes) if not counts[k]]
        if empty:
            print_log(
                f'data_prefix.video: {len(empty)} of {len(found.classes)} classes have '
                f'no video in {folder}: {some(empty, 5)}',
                'current',
                logging.WARNING,
            )
        return [
            dict(filename=file, label=label)
            for file, label in zip(found.files, found.labels, strict=True)
        ]


class LabeledFolder(NamedTuple):
    """What :func:`scan_classes` finds.

    Attributes:
        files (list[str]): paths of the videos, in the order of their names.
        labels (list[int]): number of the class of each.
        classes (list[str]): names of the classes in the order of their numbers.
        skipped (Counter[str]): how many other files there are with each suffix.
    """

    files: list[str]
    labels: list[int]
    classes: list[str]
    skipped: Counter[str]


def scan_classes(folder: str, classes: Sequence[str] | None = None) -> LabeledFolder:
    """List the videos of a folder of classes.

    Args:
        folder (str): as ``data_prefix['video']`` of the dataset.
        classes (Sequence[str], optional): what its ``metainfo['classes']`` says.
            Defaults to None: all sub-folders whose names do not begin with a dot.

    Returns:
        LabeledFolder: files, labels and classes.

    Raises:
        FileNotFoundError: if the folder does not exist or holds no video, or
            ``classes`` is the name of a file that does not exist.
        ValueError: if a video is in none of these folders, or a class is given twice.
    """
    if isinstance(classes, str):  # MMEngine has not found it, either
        raise FileNotFoundError(
            f'metainfo.classes: expected a list of names or a file of them, found none '
            f'at {os.path.abspath(classes)}'
        )
    files, skipped = scan_folder(folder, 'data_prefix.video')
    if classes is None:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.is_dir())
        names = [name for name in names if not name.startswith('.')]
    else:
        names = [*classes]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ValueError(
                f'metainfo.classes: expected every class once, got {some(twice, 5)} '
                'several times'
            )
    numbers = {name: number for number, name in enumerate(names)}
    owners = [_class_of(file, folder) for file in files]
    strays = [i for i, owner in enumerate(owners) if owner not in numbers]
    if strays:
        count, first = len(strays), files[strays[0]]
        others = {owners[i] for i in strays} - {''}
        if '' in (owners[i] for i in strays) or classes is None:
            problem = 'are in no folder of a class'
        else:
            problem = (
                f'are in folders that metainfo.classes lacks: {some(sorted(others), 5)}'
            )
        raise ValueError(
            f'data_prefix.video: expected {folder}/CLASS/VIDEO, but {count} of '
            f'{len(files)} videos {problem} (the first: {first}); move them'
            + (', or complete metainfo.classes' if classes is not None else '')
        )
    return LabeledFolder(files, [numbers[name] for name in owners], names, skipped)


def _class_of(file: str, folder: str) -> str:
    """Give the first folder below ``folder``; '' for what lies in that itself."""
    parts = PurePath(os.path.relpath(file, folder)).parts
    return parts[0] if len(parts) > 1 else ''
