"""Moving pictures: what a model says, over the frames that it saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmaction.structures import ActionDataSample
from PIL import Image, ImageDraw
from torch import Tensor

from ..models.losses import AdaMAELoss
from ..utils.fonts import default_font, drawable
from ..utils.text import shorten
from .rows import DARK, LIGHT, prediction_rows

# Pixels. Smaller pictures are enlarged to about this width, so that text fits.
_WIDTH = 256
_FONT, _LINE = 12, 18


def mask_overlay(
    clip: Tensor, sample: ActionDataSample, criterion: AdaMAELoss
) -> np.ndarray:
    """Draw what a masked autoencoder looks at, sees and predicts, frame by frame.

    Args:
        clip (Tensor): pixels, shape (C, T, H, W), uint8.
        sample (ActionDataSample): what ``MAERecognizer`` predicted for it, on the CPU.
        criterion (AdaMAELoss): of the model, on the CPU.

    Returns:
        np.ndarray: uint8, shape (T, height, width, 3), RGB; side by side the video,
        the probabilities over it (learned samplers only), the visible tokens and the
        prediction.
    """
    frames = range(clip.shape[1])
    rows = prediction_rows(clip / 255, sample, criterion, frames)
    video = rows['video'].images
    panels = [('video', video)]
    if 'probability' in rows:
        probability = rows['probability']
        assert probability.colors is not None
        title = f'probability: 0 to {probability.colors.get_clim()[1]:.3g} x uniform'
        blend = np.rint(video / 2 + probability.images / 2).astype(np.uint8)
        panels.append((title, blend))
    panels.append(('masked input', rows['masked input'].images))
    name = 'prediction' if 'prediction' in rows else 'honest prediction'
    panels.append((f'prediction {rows[name].note}', rows[name].images))
    return np.concatenate([_below([title], images) for title, images in panels], axis=2)


def class_overlay(
    views: Tensor, num_clips: int, lines: Sequence[str] = ()
) -> np.ndarray:
    """Write the predicted classes above the frames that a classifier saw.

    Args:
        views (Tensor): pixels, shape (crops * clips, C, T, H, W), uint8.
        num_clips (int): clips of the video.
        lines (Sequence[str]): text, one line each. Defaults to none.

    Returns:
        np.ndarray: uint8, shape (clips * T, height, width, 3), RGB; one clip after the
        other, its crops side by side.
    """
    crops = views.unflatten(0, (-1, num_clips)).permute(1, 3, 4, 0, 5, 2)
    clips = crops.flatten(3, 4).numpy()
    numbers = [f'clip {i} of {num_clips}' for i in range(1, num_clips + 1)]
    return np.concatenate(
        [
            _below([*lines, *[number] * (num_clips > 1)], clip)
            for number, clip in zip(numbers, clips, strict=True)
        ]
    )


def _below(lines: Sequence[str], frames: np.ndarray) -> np.ndarray:
    """Put frames below a strip of text; sides become even, as H.264 has them."""
    factor = max(1, round(_WIDTH / frames.shape[2]))
    frames = frames.repeat(factor, 1).repeat(factor, 2)
    height, width = frames.shape[1:3]
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    width = frames.shape[2]
    strip = Image.new(
        'RGB', (width, _LINE * len(lines)), tuple(round(255 * c) for c in DARK)
    )
    draw = ImageDraw.Draw(strip)
    font = default_font(_FONT)
    color = tuple(round(255 * c) for c in LIGHT)
    for number, line in enumerate(lines):
        text = drawable(line)
        while draw.textlength(text, font) > width - 8 and len(text) > 8:
            text = shorten(text, len(text) - 1)
        draw.text((4, _LINE * number + 1), text, color, font)
    strips = np.broadcast_to(np.asarray(strip), (len(frames), *strip.size[::-1], 3))
    return np.concatenate([strips, frames], axis=1)
