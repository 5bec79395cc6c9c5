"""The data that a config names, compared with the disk."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mmaction.datasets import VideoDataset
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.fileio import join_path, list_from_file
from mmengine.utils import is_abs

from ..datasets.from_config import iter_datasets
from .configs import registered_class
from .paths import is_remote

# The videos at the beginning of an annotation file that are looked for on the disk.
_NUM_VIDEOS_TO_CHECK = 3


def check_data(cfg: Config, splits: Sequence[str]) -> None:
    """Look for the files of the datasets before anything is built.

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
    for key, dataset in _iter_datasets(cfg, splits):
        if is_remote(dataset.get('data_root') or ''):
            continue
        folders = {
            f'data_prefix.{name}': _join_root(dataset, prefix)
            for name, prefix in (dataset.get('data_prefix') or {}).items()
        }
        annotation = _annotation_file(dataset)
        if annotation:
            _require(key, 'ann_file', 'annotation file', annotation, os.path.isfile)
        else:
            folders['data_root'] = dataset.get('data_root') or ''
        for name, folder in folders.items():
            if folder:
                _require(key, name, 'folder', folder, os.path.isdir)
        if annotation and not is_remote(annotation):
            videos = folders.get('data_prefix.video', '')
            _check_annotation(key, dataset, annotation, videos)


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
    for key, dataset in _iter_datasets(cfg, splits):
        annotation = _annotation_file(dataset)
        if not annotation or is_remote(annotation):
            continue
        for number, line in enumerate(_read_lines(dataset, annotation), 1):
            labels = line.strip().split(dataset.get('delimiter', ' '))[1:]
            if not labels or any(not 0 <= int(label) < classes for label in labels):
                raise ValueError(
                    f'{key}.ann_file: line {number} of {annotation}: expected a label '
                    f'from 0 to {classes - 1}, as model.cls_head.num_classes={classes} '
                    f'says, got {" ".join(labels) or "none"}; fix it, or set the '
                    'number of classes'
                )


def _iter_datasets(cfg: Config, splits: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield key and config of every dataset that the splits read."""
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        if loader:
            yield from iter_datasets(loader['dataset'], f'{split}_dataloader.dataset')


def _join_root(dataset: Any, path: str) -> str:
    root = dataset.get('data_root') or ''
    return join_path(root, path) if root and not is_abs(path) else path


def _annotation_file(dataset: Any) -> str:
    """Give the path of a dataset's annotation file; '' if it has none."""
    path = dataset.get('ann_file')
    return _join_root(dataset, path) if path else ''


def _read_lines(dataset: Any, annotation: str) -> list[str]:
    """Read the lines of an annotation file; none if the dataset reads it otherwise."""
    kind = registered_class(DATASETS, dataset['type'])
    load = getattr(kind, 'load_data_list', None)
    return list_from_file(annotation) if load is VideoDataset.load_data_list else []


def _check_annotation(key: str, dataset: Any, annotation: str, videos: str) -> None:
    """Check an annotation file as far as that is possible without the dataset."""
    lines = _read_lines(dataset, annotation)
    if not os.path.getsize(annotation) or (lines and not any(lines)):
        raise ValueError(
            f'{key}.ann_file: {annotation} is empty; list one video per line in it, '
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
                f"'VIDEO{delimiter}LABEL', got {line!r}; fix it, or set "
                f'{key}.delimiter if {delimiter!r} is part of a name'
            )
        if number <= _NUM_VIDEOS_TO_CHECK:
            what = f'video of line {number} of {annotation}'
            path = os.path.join(videos, video)
            _require(key, 'data_prefix.video', what, path, os.path.isfile)


def _require(
    key: str, name: str, what: str, path: str, exists: Callable[[str], bool]
) -> None:
    if not is_remote(path) and not exists(path):
        raise FileNotFoundError(
            f'{key}.{name}: {what} not found: {os.path.abspath(path)}; create it, '
            f'or name another with --cfg-options {key}.{name}=PATH'
        )
