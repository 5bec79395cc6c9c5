"""A picture of a clip: a sheet of its time steps, or one frame after the other."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from mmaction.structures import ActionDataSample
from torch import Tensor

from ..models.losses import AdaMAELoss
from ..utils.text import printable, shorten
from .rows import ROWS, Row, prediction_rows
from .sheet import assemble, play

# Characters of a video's name in the headline.
_MAX_NAME = 48


class Picture(NamedTuple):
    """What models make of a clip, ready to be drawn.

    Attributes:
        lines (dict[str, dict[str, Row]]): rows by the name of the model, an image for
            every frame that all models predict.
        title (str): headline.
        numbers (list[int]): of these frames in their video.
        columns (list[int]): indices of the frames on a sheet, one per time step.
        outline (np.ndarray, optional): bool, shape (frames, H, W): an object in them.
    """

    lines: dict[str, dict[str, Row]]
    title: str
    numbers: list[int]
    columns: list[int]
    outline: np.ndarray | None = None

    def sheet(self) -> np.ndarray:
        """Draw time steps next to each other: uint8, shape (height, width, 3), RGB."""
        rows: dict[str, Row] = {}
        for model, line in self.lines.items():
            for name, row in line.items():
                # The video is the same for all.
                is_shared = name == 'video' or len(self.lines) == 1
                label = name if is_shared else f'{model}\n{name}'
                rows[label] = row._replace(images=row.images[self.columns])
        numbers = [self.numbers[column] for column in self.columns]
        outline = None if self.outline is None else self.outline[self.columns]
        return assemble(rows, self.title, numbers, outline)

    def frames(self) -> Iterator[np.ndarray]:
        """Draw one frame after the other: uint8, shape (height, width, 3), RGB."""
        return play(self.lines, self.title, self.numbers, self.outline)


def make_picture(
    clip: Tensor,
    predictions: Mapping[str, tuple[ActionDataSample, AdaMAELoss]],
    name: str = '',
    rows: Collection[str] = ROWS,
) -> Picture:
    """Turn predictions for a clip into rows of images.

    Args:
        clip (Tensor): pixels, shape (C, T, H, W), uint8.
        predictions (Mapping[str, tuple[ActionDataSample, AdaMAELoss]]): by the name of
            the model, what it predicted for the clip and its criterion. If the samples
            have them, ``frame_inds`` number the frames, and an ``object_mask`` is
            outlined.
        name (str): of the video. Defaults to none.
        rows (Collection[str]): which of :data:`.ROWS`. Defaults to all.

    Returns:
        Picture: to be drawn.

    Raises:
        ValueError: if no model has one of the rows.
    """
    known = {
        name: (sample.cpu(), copy.deepcopy(criterion).cpu())
        for name, (sample, criterion) in predictions.items()
    }
    targets = [criterion.target for _, criterion in known.values()]
    # Not all models predict every frame: below each other stand equal frames only.
    frames = sorted(set.intersection(*({*t.predicted_frames} for t in targets)))
    steps = [frame // targets[0].token_shape[0] for frame in frames]
    pixels = clip.float() / 255
    lines: dict[str, dict[str, Row]] = {}
    has: dict[str, Row] = {}
    title = shorten(printable(name), _MAX_NAME)
    for model, (sample, criterion) in known.items():
        drawn = prediction_rows(pixels, sample, criterion, frames)
        has |= drawn
        label = f'{model}\n{_describe(sample)}'.strip()
        if len(known) == 1:
            title, label = f'{title}   {_describe(sample)}'.strip(), model
        lines[label] = {key: row for key, row in drawn.items() if key in rows}
    if not any(lines.values()):
        raise ValueError(
            f'rows: expected some of {", ".join(has)}, which this model has, got '
            f'{", ".join(map(repr, rows))}'
        )
    numbers = np.ravel(sample.metainfo.get('frame_inds', range(clip.shape[1])))
    return Picture(
        lines,
        title,
        numbers[frames].tolist(),
        [steps.index(step) for step in sorted({*steps})],
        np.asarray(sample.object_mask)[frames] if 'object_mask' in sample else None,
    )


def _describe(sample: ActionDataSample) -> str:
    """Say how much of a clip was hidden, and how large the error is."""
    masked = 100 * sample.mask.float().mean()
    error = sample.token_error[sample.mask].mean()
    return f'{masked:.4g}% masked, error {error:.3f}'
