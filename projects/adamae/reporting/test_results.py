"""What ``tools/test.py`` has written: metrics, classes and the worst videos."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from projects.adamae_command import tool_name

_FILES = 'classes.csv', 'confusion_matrix.csv', 'worst_videos.csv', 'predictions.json'
# Folders below the work folder in which a report may lie: `--report` names any.
_DEPTH = 3


class ClassResult(NamedTuple):
    """What a test says about a class.

    Attributes:
        name (str): of the class.
        videos (int): of it.
        accuracy (float, optional): None without any videos.
        precision (float, optional): None if no video was taken for it.
        taken_for (str): the other class its videos were most often taken for.
        taken_for_videos (int): how many those were.
    """

    name: str
    videos: int
    accuracy: float | None
    precision: float | None
    taken_for: str
    taken_for_videos: int


class WorstVideo(NamedTuple):
    """A video for which a classifier is wrong.

    Attributes:
        path (str): of the file.
        name (str): of its class.
        probability (float): of its class.
        predicted (str): the likeliest class.
        predicted_probability (float): of that.
    """

    path: str
    name: str
    probability: float
    predicted: str
    predicted_probability: float


class TestReport(NamedTuple):
    """The report of a test, see :class:`.ClassificationReport`.

    Attributes:
        folder (Path): of its files.
        metrics (dict[str, float]): of all videos.
        classes (list[ClassResult]): in the order of their numbers.
        matrix (np.ndarray): int, shape (C, C), a row for each true class.
        worst (dict[str, list[WorstVideo]]): by what is bad about them.
    """

    folder: Path
    metrics: dict[str, float]
    classes: list[ClassResult]
    matrix: np.ndarray
    worst: dict[str, list[WorstVideo]]


def read_metrics(folder: Path) -> dict[str, float]:
    """Read the metrics of a test from ``TIME/TIME.json``.

    Args:
        folder (Path): of a start, named by its time.

    Returns:
        dict[str, float]: nothing if it was no test, or did not end.
    """
    try:
        metrics = json.loads((folder / f'{folder.name}.json').read_bytes())
        return {
            name: value
            for name, value in metrics.items()
            if isinstance(value, int | float) and name not in ('time', 'data_time')
        }
    except (OSError, ValueError, AttributeError):
        return {}


def find_test_report(work_dir: Path) -> tuple[TestReport | None, list[str]]:
    """Find and read the newest report of a test.

    Args:
        work_dir (Path): of a run.

    Returns:
        tuple[TestReport | None, list[str]]: None if there is none, and what is wrong
        with newer ones.
    """
    notes: list[str] = []
    found = [
        path.parent
        for depth in range(_DEPTH)
        for path in work_dir.glob('*/' * depth + 'confusion_matrix.csv')
    ]
    found.sort(key=lambda folder: (folder / _FILES[1]).stat().st_mtime, reverse=True)
    for folder in found:
        try:
            return _read_report(folder), notes
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            reason = str(error).partition('\n')[0]
            notes.append(
                f'{folder}: expected the files of a report of '
                f'{tool_name("test.py")}, got '
                f'others ({type(error).__name__}: {reason}); test again'
            )
    return None, notes


def _read_report(folder: Path) -> TestReport:
    content: dict[str, Any] = json.loads((folder / _FILES[3]).read_bytes())
    classes = [
        ClassResult(
            row['class'],
            int(row['videos']),
            _number(row['accuracy']),
            _number(row['precision']),
            row['most_confused_with'],
            int(row['most_confused_videos']),
        )
        for row in _rows(folder / _FILES[0])
    ]
    with _open(folder / _FILES[1]) as file:
        table = [*csv.reader(file)]
    matrix = np.array([[int(x) for x in row[1:]] for row in table[1:]])
    if matrix.shape != (len(classes),) * 2:
        raise ValueError(
            f'{len(classes)} classes, and a matrix of shape {matrix.shape}'
        )
    worst: dict[str, list[WorstVideo]] = {}
    for row in _rows(folder / _FILES[2]):
        worst.setdefault(row['kind'], []).append(
            WorstVideo(
                row['path'],
                row['class'],
                float(row['class_probability']),
                row['predicted_class'],
                float(row['probability']),
            )
        )
    metrics = {k: v for k, v in content['metrics'].items() if v is not None}
    return TestReport(folder, metrics, classes, matrix, worst)


def _open(path: Path) -> Any:
    # As CsvFile writes it.
    return open(path, encoding='utf-8-sig', errors='surrogateescape', newline='')


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with _open(path) as file:
        yield from csv.DictReader(file)


def _number(text: str) -> float | None:
    return float(text) if text else None
