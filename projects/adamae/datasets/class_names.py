"""Names of classes, where a config or a folder of lists has them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.fileio import join_path, list_from_file
from mmengine.utils import is_abs

from ..utils.text import not_utf8
from .from_config import SPLITS, iter_datasets

#: The file of names that ``tools/data/prepare.py`` writes beside its lists.
CLASSES = 'classes.txt'


def add_class_names(cfg: Config) -> None:
    """Name the classes of a classifier by the file beside its annotation files.

    Where a config has no names (``metainfo``) and every dataset of a split has such a
    file, it becomes their ``metainfo.classes``, in place.

    Args:
        cfg (Config): left as it is if its model has no ``cls_head``.
    """
    if not (cfg.get('model') or {}).get('cls_head'):
        return
    for loader in (cfg.get(f'{split}_dataloader') for split in SPLITS):
        parts = [part for _, part in iter_datasets(loader['dataset'])] if loader else []
        files = [file_beside_list(part) for part in parts]
        if None not in files and not any(_has_names(part) for part in parts):
            for part, file in zip(parts, files, strict=True):
                part['metainfo'] = {**(part.get('metainfo') or {}), 'classes': file}


def file_beside_list(dataset: Any) -> str | None:
    """Find the names of classes beside an annotation file; None if there are none."""
    path, root = dataset.get('ann_file'), dataset.get('data_root')
    if not isinstance(path, str) or not path:
        return None
    path = join_path(root, path) if root and not is_abs(path) else path
    file = os.path.join(os.path.dirname(path), CLASSES)
    return file if os.path.isfile(file) else None


def _has_names(dataset: Any) -> bool:
    return 'classes' in (dataset.get('metainfo') or {}) or bool(_names_of_type(dataset))


def _names_of_type(dataset: Any) -> list[str] | None:
    kind = dataset.get('type')
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    return known_names(getattr(kind, 'METAINFO', None))


def class_names(dataset: Any, key: str) -> list[str] | None:
    """Read the names that a config gives the classes of a dataset.

    Args:
        dataset (dict): config of a dataset that wraps no other.
        key (str): where it stands in the whole config.

    Returns:
        list[str] | None: ``metainfo.classes``, which is a list, or a file with a name
        in every line, or else those of the dataset's type; None if there are none.

    Raises:
        FileNotFoundError: if there is no such file; MMEngine would take its name for
            the classes.
        ValueError: if names are empty or occur twice, or the file is no text in UTF-8.
    """
    names = (dataset.get('metainfo') or {}).get('classes')
    where = f'{key}.metainfo.classes'
    if names is None:
        return _names_of_type(dataset)
    if isinstance(names, str):
        where = f'{where}: {names}'
        try:
            names = list_from_file(names)
        except (FileNotFoundError, IsADirectoryError):
            raise FileNotFoundError(
                f'{where}: no such file; expected one with the name of a class in '
                'every line, in the order of their numbers, or a list of names'
            ) from None
        except UnicodeDecodeError as error:
            raise not_utf8(where, error) from error
        if names and names[0].startswith('\ufeff'):
            raise ValueError(
                f'{where} begins with a byte-order mark, which would become part of '
                'the first name; save it as UTF-8 without one'
            )
    if not isinstance(names, list | tuple):
        raise ValueError(f'{where}: expected a file or a list of names, got {names!r}')
    names = [str(name) for name in names]
    empty = next((i for i, name in enumerate(names) if not name.strip()), None)
    if empty is not None:
        raise ValueError(
            f'{where}: expected a name for every class, got none for number {empty}'
        )
    name, count = Counter(names).most_common(1)[0] if names else ('', 0)
    if count > 1:
        raise ValueError(
            f'{where}: expected every name once, got {name!r} for the numbers '
            f'{", ".join(str(i) for i, other in enumerate(names) if other == name)}'
        )
    return names


def known_names(metainfo: Any) -> list[str] | None:
    """Find the names of classes in what is known of a dataset.

    Args:
        metainfo (Any): of a dataset, or as MMEngine keeps it in a checkpoint
            (``meta.dataset_meta``).

    Returns:
        list[str] | None: None if there are none.
    """
    names = metainfo.get('classes') if isinstance(metainfo, dict) else None
    if not isinstance(names, Sequence) or isinstance(names, str) or not names:
        return None
    return [str(name) for name in names]


def difference(names: Sequence[str], others: Sequence[str]) -> str:
    """Say in which number two lists of names differ first; '' if in none."""
    if len(names) != len(others):
        return f'{len(names)} instead of {len(others)}'
    for number, (name, other) in enumerate(zip(names, others, strict=True)):
        if name != other:
            return f'number {number} is {name!r} instead of {other!r}'
    return ''
