"""The curves of a run, from what MMEngine's ``LocalVisBackend`` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..analysis.scalar_logs import WHEN, is_by_iteration, read_scalars

# Seconds of a batch: those of a validation are no curve of the training.
_SECONDS = 'time', 'data_time'
_LARGEST = 1e100  # of a value that can be drawn

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
        return [(x, y) for x, y in self.points if abs(y) < _LARGEST]


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
    """Read the curves of a run and its resumptions.

    Args:
        files (Sequence[Path]): ``scalars.json`` of each start, the earliest first.

    Returns:
        Curves: of training and validation. Seconds of batches are those of the
        training.
    """
    scalars = read_scalars(files)
    by_name: dict[str, Curve] = {}
    for row in scalars.rows:
        by_iteration = is_by_iteration(row, scalars.by_epoch)
        left_out = WHEN if 'iter' in row else (*WHEN, *_SECONDS)
        for name, value in row.items():
            if name in left_out:
                continue
            unit = ITERATIONS if by_iteration else EPOCHS
            points = by_name.setdefault(name, Curve(unit, [])).points
            if points and points[-1][0] == row['step']:
                points.pop()  # measured again
            points.append((row['step'], float(value)))
    for curve in by_name.values():
        curve.points.sort(key=lambda point: point[0])
    # The last line of an epoch is the nearest.
    lengths = [row['step'] / row['epoch'] for row in scalars.rows if row.get('epoch')]
    return Curves(
        by_name,
        scalars.resumed_at,
        max(lengths, default=None),
        [_note(file, lines) for file, lines in scalars.damaged.items()],
    )


def _note(file: Path, numbers: list[int]) -> str:
    lines = 'line' if len(numbers) == 1 else 'lines'
    which = ', '.join(map(str, numbers[:3])) + ', ...' * (len(numbers) > 3)
    return (
        f'{file.parts[-3]}: {len(numbers)} {lines} of {file.name} cut or damaged and '
        f'left out ({lines} {which})'
    )
