"""Annotation files that name nothing outside of the folder they are for."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Any

from mmaction.datasets import BaseActionDataset


def leaves(prefix: str, path: str) -> bool:
    """Tell whether a path of an annotation file is not below its ``data_prefix``.

    MMAction2 joins the two, which an absolute name, or one with ``..``, escapes. Links
    below the prefix may lead anywhere.

    Args:
        prefix (str): the folder; if it is empty, names may be whole paths.
        path (str): a name, joined with it.
    """
    name = path.removeprefix(prefix)
    if not prefix or ('..' not in name and not os.path.isabs(path)):
        return False
    if '..' in PurePath(name.replace('\\', '/')).parts:
        return True
    folders = prefix, os.path.abspath(prefix), os.path.realpath(prefix)
    return not any(PurePath(path).is_relative_to(folder) for folder in folders)


class NamesBelowPrefix(BaseActionDataset):
    """Reject an annotation file that names a video outside of ``data_prefix``.

    Args:
        allow_outside_prefix (bool): read such videos. Defaults to False.

    Raises:
        ValueError: if there is one, unless they are allowed; tells the line.
    """

    def __init__(
        self, *args: Any, allow_outside_prefix: bool = False, **kwargs: Any
    ) -> None:
        self.allow_outside_prefix = allow_outside_prefix
        super().__init__(*args, **kwargs)

    def filter_data(self) -> list[dict]:
        """Look at the names before any is left out."""
        prefix = next(iter(self.data_prefix.values()), '') or ''
        for number, info in enumerate(self.data_list, 1):
            path = info.get('filename') or info.get('frame_dir') or ''
            if not self.allow_outside_prefix and leaves(prefix, path):
                raise ValueError(outside_message(self.ann_file, number, prefix, path))
        return super().filter_data()


def outside_message(annotation: str, number: int, prefix: str, name: str) -> str:
    """Say which line of an annotation file names what is not below the prefix."""
    return (
        f'line {number} of {annotation}: expected a name below the folder {prefix}, '
        f'got {name!r}'
    )
