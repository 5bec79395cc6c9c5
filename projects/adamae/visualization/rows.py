"""Rows of images: what a masked autoencoder sees, predicts and looks at."""

from __future__ import annotations

from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from mmaction.structures import ActionDataSample
from torch import Tensor

from ..models.losses import AdaMAELoss
from ..models.tokens import patchify, unpatchify

GRAY = 0.5
DARK, LIGHT = (0.16, 0.18, 0.22), (0.94, 0.94, 0.94)


class Row(NamedTuple):
    """One row of a picture.

    Attributes:
        images (np.ndarray): uint8, shape (t, H, W, 3), RGB, an image per time step.
        note (str): stands below the name of the row.
        colors (ScalarMappable, optional): what the colors mean, for a color bar.
        outlined (bool): whether the object may be outlined on it.
    """

    images: np.ndarray
    note: str = ''
    colors: ScalarMappable | None = None
    outlined: bool = False


def rebuild_clip(
    clip: Tensor, mask: Tensor, pred: Tensor, criterion: AdaMAELoss
) -> Tensor:
    """Fill the masked tokens of a clip with their predictions.

    Args:
        clip (Tensor): pixels in [0, 1], shape (C, T, H, W), float.
        mask (Tensor): bool, shape (N,), True = masked.
        pred (Tensor): predictions, shape (N, P), float.
        criterion (AdaMAELoss): knows how to turn a prediction into pixels. Where
            targets are normalized, the true mean and standard deviation are put back.

    Returns:
        Tensor: pixels in [0, 1], shape (C, T, H, W). Visible tokens are untouched.
    """
    tubelet_size, patch_size = criterion.target.token_shape[:2]
    patches = patchify(clip[None], patch_size, tubelet_size)
    filled = criterion.target.to_pixels(pred[None], patches).clamp(0, 1)
    filled = torch.where(mask[None, :, None, None], filled, patches)
    _, t, h, w = clip.shape
    grid = (t // tubelet_size, h // patch_size, w // patch_size)
    return unpatchify(filled, grid, patch_size, tubelet_size)[0]


def token_images(
    values: Tensor, frame_size: tuple[int, int], patch_size: int
) -> Tensor:
    """Paint every token with its value.

    Args:
        values (Tensor): one per token, shape (N,).
        frame_size (tuple[int, int]): height and width in pixels.
        patch_size (int): pixels along each side of a token.

    Returns:
        Tensor: shape (t, H, W), an image per time step.
    """
    h, w = (size // patch_size for size in frame_size)
    images = values.reshape(-1, h, w)
    return images.repeat_interleave(patch_size, 1).repeat_interleave(patch_size, 2)


def prediction_rows(
    clip: Tensor, sample: ActionDataSample, criterion: AdaMAELoss
) -> dict[str, Row]:
    """Turn a prediction into rows of images, one image per time step of tokens.

    It shows the first frame of the step, or the one that a model predicts which does
    not predict them all (``criterion.target.frames``).

    Args:
        clip (Tensor): pixels in [0, 1], shape (C, T, H, W), float.
        sample (ActionDataSample): what ``MAERecognizer`` predicted for it: ``mask``,
            ``pred``, ``token_error`` and, of a learned sampler, ``probs``.
        criterion (AdaMAELoss): see :func:`rebuild_clip`.

    Returns:
        dict[str, Row]: ``video``, ``masked input``, ``prediction``, ``error``,
        ``probability`` (learned samplers only) and ``mask``.
    """
    mask, error = sample.mask, sample.token_error.float()
    size = (clip.shape[-2], clip.shape[-1])

    def painted(values: Tensor) -> np.ndarray:
        return token_images(values, size, criterion.target.token_shape[1]).numpy()

    hidden = painted(mask)[..., None]
    frames = list(criterion.target.frames)
    video = clip[:, frames].permute(1, 2, 3, 0).numpy()
    whole = rebuild_clip(clip, mask, sample.pred, criterion)
    rebuilt = whole[:, frames].permute(1, 2, 3, 0).numpy()
    # A few hopeless tokens must not turn all others black.
    errors = _colors('magma', error[mask].quantile(0.98))
    error_images = _paint(errors, painted(error))

    rows = {
        'video': Row(_uint8(video)),
        'masked input': Row(_uint8(np.where(hidden, GRAY, video))),
        # Even a model that knows nothing looks good with the true means put back.
        'prediction': Row(
            _uint8(rebuilt), '(true mean, std)' * criterion.target.norm_pix
        ),
        'error': Row(
            _uint8(np.where(hidden, error_images, GRAY)),
            '(gray: visible)',
            errors,
            True,
        ),
    }
    if 'probs' in sample:
        relative = sample.probs.float() * len(mask)
        probs = _colors('viridis', relative.max())
        images = _paint(probs, painted(relative))
        rows['probability'] = Row(_uint8(images), '(1: uniform)', probs, True)
    images = np.where(hidden, DARK, LIGHT)
    rows['mask'] = Row(_uint8(images), '(light: visible)', outlined=True)
    return rows


def _colors(cmap: str, top: Tensor) -> ScalarMappable:
    norm = mpl.colors.Normalize(0, max(float(top), 1e-6))
    return ScalarMappable(norm, mpl.colormaps[cmap])


def _paint(colors: ScalarMappable, values: np.ndarray) -> np.ndarray:
    # to_rgba would take three time steps for an image.
    return np.asarray(colors.cmap(colors.norm(values)))[..., :3]


def _uint8(images: np.ndarray) -> np.ndarray:
    return np.rint(images.clip(0, 1) * 255).astype(np.uint8)
