"""The scalars of a run, from what MMEngine's ``LocalVisBackend`` and tests write."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

#: The log of a start, below its folder.
SCALARS = 'vis_data/scalars.json'
#: What says when, and not what.
WHEN = 'step', 'iter', 'epoch'
# Numbers of rows without a count of iterations that are still measured by iteration
# (HealthCurvesHook), but for those of FeatureHealthHook.
_BY_ITERATION, _BY_EPOCH = 'health/', ('health/rankme', 'health/knn_')
_LARGEST = 2**63  # whole numbers of a log are smaller


class Scalars(NamedTuple):
    """What was logged of training and validation.

    Attributes:
        rows (list[dict[str, float]]): a line each, in order. All have a
            ``'step'``, those of the training ``'iter'``; other values may be NaN or
            infinite.
        by_epoch (bool): whether the run counts epochs.
        resumed_at (list[int]): iterations of the first line after a resumption.
        damaged (dict[Path, list[int]]): numbers of the lines that were left out.
    """

    rows: list[dict[str, float]]
    by_epoch: bool
    resumed_at: list[int]
    damaged: dict[Path, list[int]]


def read_rows(
    file: Path, needed: Sequence[str] = ()
) -> tuple[list[dict[str, float]], list[int]]:
    """Read a log: JSON objects, one a line.

    Args:
        file (Path): of the log.
        needed (Sequence[str]): keys that every row must have.

    Returns:
        tuple[list[dict[str, float]], list[int]]: numbers of each line, without values
        of other kinds; and which lines are left out, from 1, as they hold no such
        object: the last one of a run that was killed or goes on is often cut.
    """
    rows, damaged = [], []
    with open(file, encoding='utf-8', errors='replace') as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                content = dict(json.loads(line).items())
            except (ValueError, AttributeError, RecursionError):
                content = {key: None for key in WHEN}
            row = {key: value for key, value in content.items() if _is_number(value)}
            if all(
                0 <= row.get(key, math.nan) < _LARGEST
                for key in {*WHEN} & content.keys() | {*needed}
            ):
                rows.append(row)
            else:
                damaged.append(number)
    return rows, damaged


def read_scalars(files: Sequence[Path]) -> Scalars:
    """Read and join the logs of a run and its resumptions.

    A resumed run repeats what it had trained after its checkpoint: of that, what was
    logged first is dropped. Lines that say no step are left out, as damaged ones are.

    Args:
        files (Sequence[Path]): :data:`SCALARS` of each start, the earliest first; those
            that are not there are left out.

    Returns:
        Scalars: of the whole run.
    """
    damaged: dict[Path, list[int]] = {}
    starts: list[list[dict[str, float]]] = []
    for file in filter(Path.is_file, files):
        rows, lines = read_rows(file, ['step'])
        starts.append(rows)
        if lines:
            damaged[file] = lines
    by_epoch = any('epoch' in row for rows in starts for row in rows if 'iter' in row)
    joined: list[dict[str, float]] = []
    resumed_at: list[int] = []
    for rows in starts:
        first = next((row for row in rows if 'iter' in row), None)
        if first:
            step, epoch = first['step'], first.get('epoch', math.inf)
            joined = [
                row
                for row in joined
                if row['step'] < (step if is_by_iteration(row, by_epoch) else epoch)
            ]
            if not any('iter' in row for row in joined):  # started over, or new
                resumed_at = []
            else:
                resumed_at = [*(x for x in resumed_at if x < step), int(step)]
        joined += rows
    return Scalars(joined, by_epoch, resumed_at, damaged)


def is_by_iteration(row: Mapping[str, float], by_epoch: bool) -> bool:
    """Whether the ``'step'`` of a row counts iterations, not epochs.

    Args:
        row (Mapping[str, float]): of a log.
        by_epoch (bool): whether the run counts epochs.
    """
    return (
        not by_epoch
        or 'iter' in row
        or any(k.startswith(_BY_ITERATION) and not k.startswith(_BY_EPOCH) for k in row)
    )


def newest_metrics(
    work_dir: str | Path, key: str, default: dict[str, float] | None = None
) -> dict[str, float]:
    """Read the last line of MMEngine's scalar logs that holds a metric.

    Args:
        work_dir (str | Path): of a run.
        key (str): name of the metric, such as ``'acc/top1'``.
        default (dict[str, float], optional): what to give where there is none.
            Defaults to None: an error.

    Returns:
        dict[str, float]: that line.

    Raises:
        FileNotFoundError: if no log in the folder holds the metric.
    """
    # MMEngine's names, the second of a test: a report has a file of another kind.
    names = Path(SCALARS).name, '[0-9]*_[0-9]*.json'
    files = [path for name in names for path in Path(work_dir).rglob(name)]
    logs = sorted(files, key=lambda p: p.stat().st_mtime)
    found = [row for log in logs for row in read_rows(log)[0] if key in row]
    if found:
        return found[-1]
    if default is None:
        raise FileNotFoundError(f'{work_dir}: no log here holds {key}')
    return default


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) <= _LARGEST)
