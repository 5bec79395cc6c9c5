"""Labels and names of classes, compared with the model and among datasets."""

from collections.abc import Sequence
from typing import Any

from mmaction.registry import DATASETS
from mmengine.config import Config

from ..datasets import LabeledVideoFolderDataset, VideoFolderDataset
from ..datasets.class_names import class_names, difference
from ..datasets.from_config import iter_split_datasets
from ..datasets.labeled_video_folder_dataset import scan_classes
from .annotation_files import (
    annotation_file,
    join_root,
    layout_of,
    read_lines,
)
from .paths import is_remote
from .safeguards import registered_class


def check_classes(cfg: Config, splits: Sequence[str]) -> None:
    """Compare the labels of a classifier with its head.

    Args:
        cfg (Config): the config of the run; not looked at if its model has no
            ``cls_head.num_classes``.
        splits (Sequence[str]): as in :func:`check_data`, which comes first. Only
            annotation files of ``VideoDataset`` and ``RawframeDataset`` are read, and
            the folders of ``LabeledVideoFolderDataset``.

    Raises:
        FileNotFoundError: if such a folder holds no video, or there is no file of the
            classes' names.
        ValueError: if a label is not one of the classes, a dataset has none, or the
            classes are not as many, or not the same in all of them.
    """
    classes = (cfg.model.get('cls_head') or {}).get('num_classes')
    if classes is None:
        return
    check_names(cfg, splits, classes)
    first: tuple[str, list[str]] | None = None
    for key, dataset in iter_split_datasets(cfg, splits):
        kind = registered_class(DATASETS, dataset['type'])
        if isinstance(kind, type) and issubclass(kind, LabeledVideoFolderDataset):
            names = _check_class_folders(key, kind, dataset, classes)
            first = first or (key, names)
            if other := difference(names, first[1]):
                raise ValueError(
                    f'{key}: expected the classes of {first[0]}, got others: {other}; '
                    'give both the same metainfo.classes'
                )
            continue
        if _has_no_labels(kind):
            raise ValueError(
                f'{key}.type: {kind.__name__} has no labels, and the model is a '
                'classifier; use LabeledVideoFolderDataset on a folder with a '
                'sub-folder for each class, or TolerantVideoDataset with an ann_file '
                "of lines 'VIDEO LABEL', the label a number from 0"
            )
        annotation, layout = annotation_file(dataset), layout_of(dataset)
        if not annotation or is_remote(annotation) or not layout:
            continue
        for number, line in enumerate(read_lines(key, annotation, layout), 1):
            labels = layout.split(line)[len(layout.columns) :]
            if not labels or any(not 0 <= int(label) < classes for label in labels):
                raise ValueError(
                    f'{key}.ann_file: line {number} of {annotation}: expected a label '
                    f'from 0 to {classes - 1}, as model.cls_head.num_classes={classes} '
                    f'says, got {" ".join(labels) or "none"}; fix it, or set the '
                    'number of classes'
                )


def check_names(cfg: Config, splits: Sequence[str], classes: int) -> None:
    """Compare the names of classes with their number, and among datasets.

    Args:
        cfg (Config): the config of the run.
        splits (Sequence[str]): as in :func:`check_data`.
        classes (int): how many there are.

    Raises:
        FileNotFoundError: if there is no file of the names.
        ValueError: if they are not as many, or not the same in all datasets.
    """
    first: tuple[str, list[str]] | None = None
    for key, dataset in iter_split_datasets(cfg, splits):
        names = class_names(dataset, key)
        if names is None:
            continue
        if len(names) != classes:
            raise ValueError(
                f'{key}.metainfo.classes: expected {classes} names, as '
                f'model.cls_head.num_classes={classes} says, got {len(names)}'
                f'{_of_file(dataset)}; fix them, or set the number of classes with '
                f'--cfg-options model.cls_head.num_classes={len(names)}'
            )
        first = first or (key, names)
        if other := difference(names, first[1]):
            raise ValueError(
                f'{key}.metainfo.classes: expected the names of {first[0]}, in the '
                f'same order, got others: {other}'
            )


def _of_file(dataset: Any) -> str:
    source = (dataset.get('metainfo') or {}).get('classes')
    return f' in {source}' if isinstance(source, str) else ''


def check_labels(cfg: Config, split: str) -> None:
    """Check that every video has a label, for tools that compare labels.

    Args:
        cfg (Config): with the dataset of ``split``.
        split (str): 'train', 'val' or 'test'.

    Raises:
        ValueError: if there is a video without one, or with several.
    """
    for key, dataset in iter_split_datasets(cfg, (split,)):
        kind = registered_class(DATASETS, dataset['type'])
        annotation, layout = annotation_file(dataset), layout_of(dataset)
        if _has_no_labels(kind):
            raise ValueError(
                f'{key}.type: {kind.__name__} has no labels; expected a dataset with '
                f"an annotation file, such as TolerantVideoDataset, with 'VIDEO LABEL' "
                'on every line'
            )
        if not annotation or is_remote(annotation) or not layout:
            continue
        for number, line in enumerate(read_lines(key, annotation, layout), 1):
            labels = layout.split(line)[len(layout.columns) :]
            if len(labels) != 1 or int(labels[0]) < 0:
                raise ValueError(
                    f'{key}.ann_file: line {number} of {annotation}: expected '
                    f"'{layout.form}' with one label from 0, got {line!r}"
                )


def _has_no_labels(kind: Any) -> bool:
    return (
        isinstance(kind, type)
        and issubclass(kind, VideoFolderDataset)
        and not issubclass(kind, LabeledVideoFolderDataset)
    )


def _check_class_folders(key: str, kind: Any, dataset: Any, count: int) -> list[str]:
    """Compare the classes of a folder with those of the model; returns their names."""
    folder = join_root(dataset, (dataset.get('data_prefix') or {}).get('video') or '')
    names = kind._load_metainfo(dataset.get('metainfo')).get('classes')
    try:
        names = scan_classes(folder, names).classes
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f'{key}.{error}') from None
    if len(names) != count:
        raise ValueError(
            f'{key}: {folder} has {len(names)} classes (its folders, or metainfo.'
            f'classes), but model.cls_head.num_classes={count}; set the latter with '
            f'--cfg-options model.cls_head.num_classes={len(names)}, or name all '
            'classes in metainfo.classes'
        )
    return names
