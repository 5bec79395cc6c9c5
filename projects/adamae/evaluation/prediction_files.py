"""Predictions of videos without labels, written as they come."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from .ranking import Ranked, ranked_columns, ranked_fields, ranked_objects
from .rows_file import SUFFIXES, CsvFile, JsonFile

#: Takes the path of a video, its ranking, and the error if it has none.
Write: TypeAlias = Callable[[str, Sequence[Ranked], str], None]


def check_name(path: str) -> None:
    """Raise a ``ValueError`` if no file of one of the two formats can have a name."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ValueError(
            f'--out: expected a name that ends in {" or ".join(SUFFIXES)}, got {path!r}'
        )
    if os.path.isdir(path):
        raise ValueError(f'--out: expected the name of a file, {path} is a folder')


@contextmanager
def open_predictions(
    path: str | None, k: int, classes: Sequence[str] | None
) -> Iterator[Write]:
    """Open a file for predictions.

    Args:
        path (str, optional): ends in ``.csv`` or ``.json``. None: nothing is written.
        k (int): classes for each video, at most.
        classes (Sequence[str], optional): their names.

    Yields:
        Callable: to be called for each video.

    Raises:
        ValueError: as :func:`check_name`.
    """
    if not path:
        yield lambda *_: None
        return
    check_name(path)
    if Path(path).suffix.lower() == '.csv':
        with CsvFile(path, ['path', *ranked_columns(k), 'error']) as table:
            yield lambda video, top, error: table.write(
                (video, *ranked_fields(top, k, classes), error)
            )
    else:
        with JsonFile(path, classes=classes and [*classes]) as file:
            yield lambda video, top, error: file.write(
                {
                    'path': video,
                    'top': ranked_objects(top, classes),
                    'error': error or None,
                }
            )
