"""Labelled rows of images on one sheet."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmaction.structures import ActionDataSample
from torch import Tensor

from ..models.mae_recognizer import MAERecognizer
from .rows import Row, prediction_rows

OUTLINE = '#ff3b30'


def assemble(
    rows: dict[str, Row],
    title: str = '',
    frames: Sequence[int] | None = None,
    outline: np.ndarray | None = None,
) -> np.ndarray:
    """Put rows together to one labelled picture.

    Args:
        rows (dict[str, Row]): name and images of every row, see
            :func:`prediction_rows`; all with the same number of images.
        title (str): headline. Defaults to none.
        frames (Sequence[int], optional): number of the frame in each column. Defaults
            to 0, 1, 2 and so on.
        outline (np.ndarray, optional): bool, shape (t, H, W): an object to outline.

    Returns:
        np.ndarray: uint8, shape (height, width, 3), RGB.
    """
    count, height, width = next(iter(rows.values())).images.shape[:3]
    gap = max(1, width // 24)
    tile = 0.95  # inches
    left, right, top, bottom = 1.5, 0.75, 0.68, 0.1
    row_height = tile * height / width + 0.1
    size = (left + count * tile + right, top + len(rows) * row_height + bottom)
    figure = Figure(figsize=size, dpi=110, facecolor='white')
    canvas = FigureCanvasAgg(figure)
    inch = np.array([size[0], size[1], size[0], size[1]])
    for number, (name, row) in enumerate(rows.items()):
        y = size[1] - top - (number + 1) * row_height + 0.05
        box = np.array([left, y, count * tile, row_height - 0.1])
        axes = figure.add_axes(tuple(box / inch))
        strip = _strip(row.images, gap, 255)
        # Pixels of small videos stay squares; large ones are smoothed when shrunk.
        small = width < tile * figure.dpi
        axes.imshow(strip, interpolation='nearest' if small else 'auto', aspect='auto')
        axes.set_axis_off()
        axes.text(
            -0.1 / (count * tile),
            0.5,
            f'{name}\n{row.note}'.strip(),
            transform=axes.transAxes,
            ha='right',
            va='center',
        )
        if number == 0:
            for column in range(count):
                x = column * (width + gap) + (width - 1) / 2
                heading = f'frame {frames[column] if frames else column}'
                axes.text(x, -0.08 * height, heading, ha='center')
        if row.colours is not None:
            box = np.array([left + count * tile + 0.1, y, 0.12, row_height - 0.1])
            bar = figure.add_axes(tuple(box / inch))
            figure.colorbar(row.colours, cax=bar).ax.tick_params(labelsize=8)
        if row.outlined and outline is not None and outline.any():
            ring = _strip(outline[..., None].astype(float), gap, 0)[..., 0]
            axes.contour(ring, [0.5], colors=OUTLINE, linewidths=1.1)
    figure.text(left / size[0], 1 - 0.3 / size[1], title, fontsize=12, weight='bold')
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _strip(images: np.ndarray, gap: int, fill: float) -> np.ndarray:
    """Place images side by side, (t, H, W, C) -> (H, t * (W + gap) - gap, C)."""
    padding = [(0, 0), (0, 0), (0, gap), (0, 0)]
    padded = np.pad(images, padding, constant_values=fill)
    return np.concatenate(list(padded), axis=1)[:, :-gap]


def draw_prediction(
    model: MAERecognizer, clip: Tensor, sample: ActionDataSample, name: str = ''
) -> np.ndarray:
    """Draw what a model predicted for a clip.

    Args:
        model (MAERecognizer): gives the kind of target.
        clip (Tensor): pixels, shape (C, T, H, W), uint8.
        sample (ActionDataSample): its prediction; an ``object_mask`` in it is outlined.
        name (str): for the headline. Defaults to none.

    Returns:
        np.ndarray: uint8, shape (height, width, 3), RGB.
    """
    sample = sample.cpu()
    criterion = copy.deepcopy(model.criterion).cpu()
    rows = prediction_rows(clip.float() / 255, sample, criterion)
    title = (
        f'{name}   {sample.mask.float().mean():.0%} masked, '
        f'error {sample.token_error[sample.mask].mean():.3f}'
    )
    outline = None
    if 'object_mask' in sample:
        outline = np.asarray(sample.object_mask)[list(criterion.target.frames)]
    return assemble(rows, title.strip(), criterion.target.frames, outline)
