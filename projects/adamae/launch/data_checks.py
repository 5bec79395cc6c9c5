"""What a config says of its data, compared with the disk."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.fileio import join_path, list_from_file
from mmengine.utils import is_abs

from ..datasets.from_config import iter_datasets
from .checks import registered
from .files import is_remote

# How many of an annotation file's videos are looked for on the disk.
_NUM_VIDEOS_TO_CHECK = 3


def check_data(cfg: Config, splits: Sequence[str]) -> None:
    """Look for the files of the data sets before anything is built.

    Remote paths are not looked at. Folders and annotation files are joined with
    ``data_root`` as MMEngine's ``BaseDataset`` does it.

    Args:
        cfg (Config): the config of the run.
        splits (Sequence[str]): of 'train', 'val' and 'test', those that the run
            reads; one without a dataloader is skipped.

    Raises:
        FileNotFoundError: if an annotation file, a folder, or one of the first
            videos of an annotation file does not exist.
        ValueError: if an annotation file lists nothing, or a line that
            ``VideoDataset`` cannot read.
    """
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        if loader:
            key = f'{split}_dataloader.dataset'
            for dataset_key, dataset in iter_datasets(loader['dataset'], key):
                _check_dataset(dataset_key, dataset)


def check_classes(cfg: Config, splits: Sequence[str]) -> None:
    """Compare the labels of a classifier with its head.

    Args:
        cfg (Config): the config of the run; not looked at if its model has no
            ``cls_head.num_classes``.
        splits (Sequence[str]): as in :func:`check_data`, which comes first. Only
            annotation files of ``VideoDataset`` are read.

    Raises:
        ValueError: if a label is not one of the classes.
    """
    classes = (cfg.model.get('cls_head') or {}).get('num_classes')
    if classes is None:
        return
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        if loader:
            key = f'{split}_dataloader.dataset'
            for dataset_key, dataset in iter_datasets(loader['dataset'], key):
                _check_labels(dataset_key, dataset, classes)


def _join_root(dataset: Any, path: str) -> str:
    root = dataset.get('data_root') or ''
    return join_path(root, path) if root and not is_abs(path) else path


def _check_dataset(key: str, dataset: Any) -> None:
    root = dataset.get('data_root') or ''
    if is_remote(root):
        return
    folders = {
        f'data_prefix.{name}': _join_root(dataset, prefix)
        for name, prefix in (dataset.get('data_prefix') or {}).items()
    }
    annotation = dataset.get('ann_file')
    if annotation:
        annotation = _join_root(dataset, annotation)
        _require(key, 'ann_file', 'annotation file', annotation, os.path.isfile)
    else:
        folders['data_root'] = root
    for name, folder in folders.items():
        if folder:
            _require(key, name, 'folder', folder, os.path.isdir)
    if annotation and not is_remote(annotation):
        _check_annotation(key, dataset, annotation, folders)


def _reads_lines(dataset: Any) -> bool:
    kind = registered(DATASETS, dataset['type'])
    return getattr(kind, 'load_data_list', None) is VideoDataset.load_data_list


def _check_annotation(
    key: str, dataset: Any, annotation: str, folders: dict[str, str]
) -> None:
    """Check what can be known of an annotation file without the data set."""
    reads_lines = _reads_lines(dataset)
    lines = list_from_file(annotation) if reads_lines else []
    if not os.path.getsize(annotation) or (reads_lines and not any(lines)):
        raise ValueError(
            f'{key}.ann_file: {annotation} is empty; list a video a line in it, '
            f'or name another with --cfg-options {key}.ann_file=PATH'
        )
    delimiter = dataset.get('delimiter', ' ')
    for number, line in enumerate(lines, 1):
        video, *labels = line.strip().split(delimiter)
        if (
            not video
            or not all(label.lstrip('-').isdigit() for label in labels)
            or (len(labels) > 1 and not dataset.get('multi_class'))
        ):
            raise ValueError(
                f'{key}.ann_file: line {number} of {annotation}: expected '
                f"'VIDEO{delimiter}LABEL', got {line!r}; mend it, or set "
                f'{key}.delimiter if {delimiter!r} is part of a name'
            )
        if number <= _NUM_VIDEOS_TO_CHECK:
            video = os.path.join(folders.get('data_prefix.video', ''), video)
            what = f'video of line {number} of {annotation}'
            _require(key, 'data_prefix.video', what, video, os.path.isfile)


def _check_labels(key: str, dataset: Any, classes: int) -> None:
    annotation = dataset.get('ann_file')
    if not annotation or not _reads_lines(dataset):
        return
    annotation = _join_root(dataset, annotation)
    if is_remote(annotation):
        return
    delimiter = dataset.get('delimiter', ' ')
    for number, line in enumerate(list_from_file(annotation), 1):
        labels = line.strip().split(delimiter)[1:]
        if not labels or any(not 0 <= int(label) < classes for label in labels):
            raise ValueError(
                f'{key}.ann_file: line {number} of {annotation}: expected a label '
                f'from 0 to {classes - 1}, as model.cls_head.num_classes={classes} '
                f'says, got {" ".join(labels) or "none"}; mend it, or set the number '
                'of classes'
            )


def _require(
    key: str, name: str, what: str, path: str, exists: Callable[[str], bool]
) -> None:
    if not is_remote(path) and not exists(path):
        raise FileNotFoundError(
            f'{key}.{name}: {what} not found: {os.path.abspath(path)}; create it, '
            f'or name another with --cfg-options {key}.{name}=PATH'
        )
