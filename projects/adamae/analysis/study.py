"""Compare ways of pre-training: the same runs for each, over several seeds."""

from __future__ import annotations

import json
import statistics
from math import ceil
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

SCRATCH = 'from scratch'


def newest_metrics(work_dir: str | Path, key: str) -> dict[str, float]:
    """Read the last line of MMEngine's scalar logs that holds a metric.

    Args:
        work_dir (str | Path): of a run.
        key (str): name of the metric, such as ``'acc/top1'``.

    Returns:
        dict[str, float]: that line.

    Raises:
        FileNotFoundError: if no log in the folder holds the metric.
    """
    logs = sorted(Path(work_dir).rglob('*.json'), key=lambda p: p.stat().st_mtime)
    rows = [json.loads(row) for log in logs for row in log.read_text().splitlines()]
    found = [row for row in rows if key in row]
    if not found:
        raise FileNotFoundError(f'{work_dir}: no log here holds {key}')
    return found[-1]


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Write results as a Markdown table: mean and standard deviation over seeds.

    Args:
        results (dict[str, list[dict[str, float]]]): for each way of pre-training the
            results of its seeds, by name. Names may be missing.

    Returns:
        str: one row a way, one column a name, in order of appearance.
    """
    columns = list(
        dict.fromkeys(name for runs in results.values() for run in runs for name in run)
    )
    rows = [
        '| pre-training | seeds | ' + ' | '.join(columns) + ' |',
        '| --- ' * (len(columns) + 2) + '|',
    ]
    for way, runs in results.items():
        cells = [way, str(len(runs))]
        for name in columns:
            values = [run[name] for run in runs if name in run]
            if not values:
                cells.append('')
            elif len(values) == 1:
                cells.append(f'{values[0]:.3f}')
            else:
                mean, deviation = statistics.mean(values), statistics.stdev(values)
                cells.append(f'{mean:.3f} ± {deviation:.3f}')
        rows.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(rows)


def plot(results: dict[str, list[dict[str, float]]], path: str | Path) -> None:
    """Draw results: one panel a name, one row a way, one dot a seed and their mean.

    Args:
        results (dict[str, list[dict[str, float]]]): as for :func:`table`.
        path (str | Path): of the picture.
    """
    columns = list(
        dict.fromkeys(name for runs in results.values() for run in runs for name in run)
    )
    rows = ceil(len(columns) / 4)
    height = rows * (0.8 + 0.3 * len(results))
    figure = Figure(figsize=(12, height))
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, min(4, len(columns)), sharey=True, squeeze=False)
    for axis in axes.flat[len(columns) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, columns, strict=False):
        for row, runs in enumerate(results.values()):
            values = [run[name] for run in runs if name in run]
            if values:
                axis.plot(values, [row] * len(values), 'o', color='C0', alpha=0.5)
                axis.plot(statistics.mean(values), row, '|', color='k', markersize=16)
        axis.set_title(name)
        axis.grid(axis='x', alpha=0.3)
        axis.set_yticks(range(len(results)), results)
    axes[0, 0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=100)
