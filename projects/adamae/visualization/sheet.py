"""Labeled rows of images on one sheet."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmaction.structures import ActionDataSample
from torch import Tensor

from ..models.mae_recognizer import MAERecognizer
from ..utils.fonts import drawable
from ..utils.text import shorten
from .rows import Row, prediction_rows

OUTLINE = '#ff3b30'
# Characters of a video's name in the headline.
MAX_TITLE = 48


def assemble(
    rows: dict[str, Row],
    title: str = '',
    frames: Sequence[int] | None = None,
    outline: np.ndarray | None = None,
) -> np.ndarray:
    """Put rows together to one labeled picture.

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
    labels = {name: f'{name}\n{row.note}'.strip() for name, row in rows.items()}
    # Inches: an image is one wide, labels stand left of them and color bars right.
    longest = max(len(line) for text in labels.values() for line in text.splitlines())
    left = max(1.45, 0.08 * longest + 0.1)
    size = (count + left + 0.55, len(rows) * (height / width + 0.08) + 0.7)
    figure = Figure(size, dpi=110)
    canvas = FigureCanvasAgg(figure)
    grid = figure.subplots(
        len(rows),
        count + 1,
        squeeze=False,
        width_ratios=[*[1] * count, 0.12],
        gridspec_kw=dict(
            left=left / size[0],
            right=1 - 0.4 / size[0],
            bottom=0.05 / size[1],
            top=1 - 0.6 / size[1],
            wspace=0.05,
            hspace=0.12,
        ),
    )
    for (*axes, bar), (name, row) in zip(grid, rows.items(), strict=True):
        for column, image in enumerate(row.images):
            # Pixels of small videos stay squares; large ones are smoothed when shrunk.
            axes[column].imshow(image, interpolation='auto')
            axes[column].set(xticks=[], yticks=[], frame_on=False, autoscale_on=False)
            if row.outlined and outline is not None and outline[column].any():
                # A border, to close the outline of what leaves the image.
                ring = np.pad(outline[column], 1)
                y, x = (np.arange(-1, length - 1) for length in ring.shape)
                axes[column].contour(x, y, ring, [0.5], colors=OUTLINE)
        axes[0].set_ylabel(labels[name], rotation=0, ha='right', va='center')
        if row.colors is None:
            bar.remove()
        else:
            figure.colorbar(row.colors, cax=bar).ax.tick_params(labelsize=8)
    for column, axes in enumerate(grid[0, :count]):
        axes.set_title(f'frame {frames[column] if frames else column}', fontsize=10)
    figure.suptitle(
        drawable(title, 'bold'),
        x=left / size[0],
        ha='left',
        weight='bold',
        parse_math=False,
    )
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw_prediction(
    model: MAERecognizer,
    clip: Tensor,
    sample: ActionDataSample,
    name: str = '',
    numbers: Sequence[int] | None = None,
) -> np.ndarray:
    """Draw what a model predicted for a clip.

    Args:
        model (MAERecognizer): gives the kind of target.
        clip (Tensor): pixels, shape (C, T, H, W), uint8.
        sample (ActionDataSample): its prediction; an ``object_mask`` in it is outlined.
        name (str): for the headline, shortened. Defaults to none.
        numbers (Sequence[int], optional): of the T frames in their video. Defaults to
            0, 1, 2 and so on.

    Returns:
        np.ndarray: uint8, shape (height, width, 3), RGB.
    """
    sample = sample.cpu()
    criterion = copy.deepcopy(model.criterion).cpu()
    rows = prediction_rows(clip.float() / 255, sample, criterion)
    title = (
        f'{shorten(name, MAX_TITLE)}   {sample.mask.float().mean():.0%} masked, '
        f'error {sample.token_error[sample.mask].mean():.3f}'
    )
    outline = None
    if 'object_mask' in sample:
        outline = np.asarray(sample.object_mask)[list(criterion.target.frames)]
    frames = criterion.target.frames
    if numbers is not None:
        frames = [numbers[frame] for frame in frames]
    return assemble(rows, title.strip(), frames, outline)
