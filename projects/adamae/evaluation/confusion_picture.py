"""A confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..utils.fonts import drawable
from ..utils.text import shorten

# Up to so many classes there is room for a number in every cell, or for the names.
_MAX_WITH_NUMBERS, _MAX_WITH_NAMES = 25, 60
_LONGEST_NAME = 36
_LISTED = 50


def draw_confusion_matrix(
    matrix: np.ndarray, classes: Sequence[str] | None = None
) -> np.ndarray:
    """Draw what share of the videos of each class was taken for which.

    Up to 60 classes are named along both sides, up to 25 have percentages in their
    cells. With more, the sides have their numbers, and the largest confusions are
    listed by name. Classes without videos are gray.

    Args:
        matrix (np.ndarray): int, shape (C, C), a row for each true class.
        classes (Sequence[str], optional): their names. Defaults to their numbers.

    Returns:
        np.ndarray: uint8, shape (height, width, 3), RGB.
    """
    count = len(matrix)
    names = [
        shorten(drawable(name), _LONGEST_NAME)
        for name in classes or map(str, range(count))
    ]
    totals = matrix.sum(1, keepdims=True)
    shares = np.ma.masked_invalid(
        np.divide(matrix, totals, out=np.full(matrix.shape, np.nan), where=totals > 0)
    )
    has_names = count <= _MAX_WITH_NAMES
    # Inches.
    side = max(3.5, count * (0.4 if count <= _MAX_WITH_NUMBERS else 0.17))
    side = side if has_names else 9.0
    label = 0.085 * max(map(len, names)) + 0.4 if has_names else 0.7
    listed = 0.0 if has_names else 0.075 * (2 * _LONGEST_NAME + 14)
    width, height = label + side + 1.0 + listed, label + side + 0.7
    figure = Figure((width, height), dpi=110)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((label / width, label / height, side / width, side / height))
    image = axes.imshow(
        shares,
        cmap=mpl.colormaps['Blues'].with_extremes(bad='0.85'),
        # A few confusions of many videos are to be seen.
        norm=mpl.colors.PowerNorm(0.5, 0, 1),
        interpolation='nearest',
        aspect='auto',
    )
    bar = figure.add_axes(
        ((label + side + 0.15) / width, label / height, 0.18 / width, side / height)
    )
    figure.colorbar(image, cax=bar, format=mpl.ticker.PercentFormatter(1, 0))
    axes.set_title("share of each true class's videos", fontsize=10)
    if has_names:
        size = 8 if count <= _MAX_WITH_NUMBERS else 7
        axes.set_xticks(range(count), names, rotation=90, size=size, parse_math=False)
        axes.set_yticks(range(count), names, size=size, parse_math=False)
    else:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(20, integer=True))
    axes.set_xlabel('predicted class')
    axes.set_ylabel('true class')
    if count <= _MAX_WITH_NUMBERS:
        for row, column in zip(*matrix.nonzero(), strict=True):
            share = shares[row, column]
            axes.text(
                *(column, row, f'{share:.0%}'),
                ha='center',
                va='center',
                size=7,
                color='white' if share > 0.4 else 'black',
            )
    if not has_names:
        x = (label + side + 1.0) / width
        figure.text(
            x,
            (label + side) / height,
            _largest_confusions(matrix, names if classes else None),
            va='top',
            size=8,
            family='monospace',
            parse_math=False,
        )
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _largest_confusions(matrix: np.ndarray, names: Sequence[str] | None) -> str:
    """List the cells beside the diagonal with the most videos."""
    others = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-others, axis=None, kind='stable')[:_LISTED]
    texts = [
        f'{number} {names[number]}' if names else str(number)
        for number in range(len(matrix))
    ]
    lines = ['largest confusions (videos, true class -> predicted class)', '']
    for row, column in zip(*np.unravel_index(order, matrix.shape), strict=True):
        if others[row, column]:
            lines.append(f'{others[row, column]:>5}  {texts[row]} -> {texts[column]}')
    return '\n'.join(lines)
