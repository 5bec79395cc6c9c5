"""The curves of a run, from what MMEngine's ``LocalVisBackend`` writes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Names without a count of iterations beside them that are still measured by iteration
# (HealthCurvesHook), but for those of FeatureHealthHook.
_BY_ITERATION, _BY_EPOCH = 'health/', ('health/rankme', 'health/knn_')
# What says when, and not what.
_WHEN = 'step', 'iter', 'epoch'
# Seconds of a batch: those of a validation are no curve of the training.
_SECONDS = 'time', 'data_time'

ITERATIONS, EPOCHS = 'iterations', 'epochs'


class Curve(NamedTuple):
    """A scalar over a run.

    Attributes:
        unit (str): of the first number of each point, ``'iterations'`` or ``'epochs'``.
        points (list[tuple[float, float]]): when and value, in order. A value may be NaN
            or infinite.
    """

    unit: str
    points: list[tuple[float, float]]

    @property
    def finite(self) -> list[tuple[float, float]]:
        """The points that can be drawn."""
        return [(x, y) for x, y in self.points if math.isfinite(y)]


class Curves(NamedTuple):
    """All curves of a run.

    Attributes:
        by_name (dict[str, Curve]): in the order in which they were first written.
        resumed_at (list[int]): iterations of the first log line after a resumption.
        steps_per_epoch (float, optional): None if the run counts iterations only, or
            has not logged any.
        notes (list[str]): what was left out of the files.
    """

    by_name: dict[str, Curve]
    resumed_at: list[int]
    steps_per_epoch: float | None
    notes: list[str]


def read_curves(files: Sequence[Path]) -> Curves:
    """Read and join the curves of a run and its resumptions.

    A resumed run repeats what it had trained after its checkpoint: of that, what was
    logged first is dropped. Lines that are no JSON objects are left out: the last one
    of a killed run is often cut.

    Args:
        files (Sequence[Path]): ``scalars.json`` of each start, the earliest first.

    Returns:
        Curves: of training and validation. Seconds of batches are those of the
        training.
    """
    by_name: dict[str, Curve] = {}
    resumed_at: list[int] = []
    notes: list[str] = []
    per_epoch = None
    for file in files:
        records, broken = _read(file)
        if broken:
            lines = 'line' if len(broken) == 1 else 'lines'
            numbers = ', '.join(map(str, broken[:3])) + ', ...' * (len(broken) > 3)
            notes.append(
                f'{file.parts[-3]}: {len(broken)} {lines} of {file.name} cut or '
                f'damaged and left out ({lines} {numbers})'
            )
        training = [r for r in records if 'iter' in r]
        if training:
            first = training[0]
            start = {ITERATIONS: first['step'], EPOCHS: first.get('epoch', math.inf)}
            kept = {
                name: Curve(c.unit, [p for p in c.points if p[0] < start[c.unit]])
                for name, c in by_name.items()
            }
            by_name = {name: curve for name, curve in kept.items() if curve.points}
            if any(c.unit == ITERATIONS for c in by_name.values()):
                resumed_at = [x for x in resumed_at if x < first['step']]
                resumed_at.append(int(first['step']))
            else:  # the run was started over
                resumed_at = []
            last = training[-1]
            if last.get('epoch'):
                # The last line of an epoch is the exact one; any is near.
                per_epoch = max(r['step'] / r['epoch'] for r in training if r['epoch'])
            else:
                per_epoch = None
        by_epoch = any('epoch' in r for r in training) or per_epoch is not None
        for record in records:
            _add(by_name, record, by_epoch)
    for curve in by_name.values():
        curve.points.sort(key=lambda point: point[0])
    return Curves(by_name, resumed_at, per_epoch, notes)


def _read(file: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """Give the records of a file, and the numbers of the lines that hold none."""
    records, broken = [], []
    with open(file, encoding='utf-8', errors='replace') as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                is_record = all(
                    _is_number(record[name]) and math.isfinite(record[name])
                    for name in _WHEN
                    if name == 'step' or name in record
                )
            except (ValueError, TypeError, KeyError, RecursionError):
                is_record = False
            if is_record:
                records.append(record)
            else:
                broken.append(number)
    return records, broken


def _add(by_name: dict[str, Curve], record: dict[str, Any], by_epoch: bool) -> None:
    """Add what a record says to the curves, in place."""
    is_training = 'iter' in record
    for name, value in record.items():
        if name in _WHEN or not _is_number(value):
            continue
        if name in _SECONDS and not is_training:
            continue
        by_iteration = is_training or (
            name.startswith(_BY_ITERATION) and not name.startswith(_BY_EPOCH)
        )
        unit = ITERATIONS if by_iteration or not by_epoch else EPOCHS
        points = by_name.setdefault(name, Curve(unit, [])).points
        if points and points[-1][0] == record['step']:
            points.pop()  # measured again
        points.append((record['step'], float(value)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
