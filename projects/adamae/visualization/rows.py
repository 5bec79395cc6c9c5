"""Rows of images: what a masked autoencoder sees, predicts and looks at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from mmaction.structures import ActionDataSample
from torch import Tensor

from ..models.losses import AdaMAELoss
from ..models.tokens import patchify, unpatchify
from .neighbors import from_neighbors

#: Names of the rows, in their order.
ROWS = (
    'video',
    'masked input',
    'prediction',
    'honest prediction',
    'error',
    'probability',
    'mask',
)
GRAY = 0.5
DARK, LIGHT = (0.16, 0.18, 0.22), (0.94, 0.94, 0.94)
#: In the place of NaN, which no color scale has.
BAD = (1.0, 0.0, 1.0)


class Row(NamedTuple):
    """One row of a picture.

    Attributes:
        images (np.ndarray): uint8, shape (t, H, W, 3), RGB, an image per time step.
        note (str): stands below the name of the row.
        colors (ScalarMappable, optional): what the colors mean, for a color bar; with
            an array if some of its values may be above the top.
        outlined (bool): whether the object may be outlined on it.
    """

    images: np.ndarray
    note: str = ''
    colors: ScalarMappable | None = None
    outlined: bool = False


def rebuild_clip(
    clip: Tensor,
    mask: Tensor,
    pred: Tensor,
    criterion: AdaMAELoss,
    honest: bool = False,
) -> Tensor:
    """Fill the masked tokens of a clip with their predictions.

    Args:
        clip (Tensor): pixels in [0, 1], shape (C, T, H, W), float.
        mask (Tensor): bool, shape (N,), True = masked.
        pred (Tensor): predictions, shape (N, P), float.
        criterion (AdaMAELoss): knows how to turn a prediction into pixels. Where
            targets are normalized, the true mean and standard deviation are put back.
        honest (bool): put back those of the visible neighbors instead, so that no pixel
            of a masked token has a part in it. Defaults to False.

    Returns:
        Tensor: pixels in [0, 1], shape (C, T, H, W). Visible tokens are untouched.
    """
    target = criterion.target
    tubelet_size, patch_size = target.token_shape[:2]
    patches = patchify(clip[None], patch_size, tubelet_size)
    _, t, h, w = clip.shape
    grid = (t // tubelet_size, h // patch_size, w // patch_size)
    statistics = None
    if honest and target.norm_pix:
        visible = (~mask).nonzero().T
        known = target.statistics(patches[:, ~mask], visible)
        mean, std = (from_neighbors(x[0], mask, grid)[None] for x in known)
        statistics = mean, std
    filled = target.to_pixels(pred[None], patches, statistics=statistics).clamp(0, 1)
    filled = torch.where(mask[None, :, None, None], filled, patches)
    return unpatchify(filled, grid, patch_size, tubelet_size)[0]


def token_images(
    values: Tensor, frame_size: tuple[int, int], patch_size: int
) -> Tensor:
    """Paint every token with its value.

    Args:
        values (Tensor): of each token, shape (N, ...): one, or a color.
        frame_size (tuple[int, int]): height and width in pixels.
        patch_size (int): pixels along each side of a token.

    Returns:
        Tensor: shape (t, H, W, ...), an image per time step.
    """
    h, w = (size // patch_size for size in frame_size)
    images = values.reshape(-1, h, w, *values.shape[1:])
    return images.repeat_interleave(patch_size, 1).repeat_interleave(patch_size, 2)


def prediction_rows(
    clip: Tensor,
    sample: ActionDataSample,
    criterion: AdaMAELoss,
    frames: Sequence[int] | None = None,
) -> dict[str, Row]:
    """Turn a prediction into rows of images.

    Args:
        clip (Tensor): pixels in [0, 1], shape (C, T, H, W), float.
        sample (ActionDataSample): what ``MAERecognizer`` predicted for it: ``mask``,
            ``pred``, ``token_error`` and, of a learned sampler, ``probs``.
        criterion (AdaMAELoss): see :func:`rebuild_clip`.
        frames (Sequence[int], optional): frames of the clip to show. Defaults to one
            per time step of tokens, ``criterion.target.frames``: the first of the
            step, or the one that a model predicts which does not predict them all.

    Returns:
        dict[str, Row]: of :data:`ROWS`; ``probability`` of learned samplers only. In
        ``prediction`` the true mean and deviation are put back where targets are
        normalized; in ``honest prediction`` those of the visible neighbors. Where they
        are not normalized, nothing is put back, and ``prediction`` is left out.
    """
    mask, error = sample.mask, sample.token_error.float()
    target = criterion.target
    size = (clip.shape[-2], clip.shape[-1])
    frames = [*(target.frames if frames is None else frames)]
    steps = [frame // target.token_shape[0] for frame in frames]

    def painted(values: np.ndarray) -> np.ndarray:
        tokens = torch.from_numpy(values)
        return token_images(tokens, size, target.token_shape[1])[steps].numpy()

    def shown(pixels: Tensor) -> np.ndarray:
        return _uint8(pixels[:, frames].permute(1, 2, 3, 0).numpy())

    def rebuilt(honest: bool) -> np.ndarray:
        return shown(rebuild_clip(clip, mask, sample.pred, criterion, honest))

    hidden = mask.numpy()[:, None]
    gray = _uint8(np.array(GRAY))
    video = shown(clip)
    # A few hopeless tokens must not turn all others black.
    errors = _colors('magma', error[mask], 0.98)
    known = error[mask & ~error.isnan()]
    if len(known):
        errors.set_array(known.numpy())
    error_colors = np.where(hidden, _paint(errors, error), gray)

    rows = {
        'video': Row(video),
        'masked input': Row(np.where(painted(hidden), gray, video)),
    }
    if target.norm_pix:
        # Even a model that knows nothing looks good with the true means put back.
        rows['prediction'] = Row(rebuilt(False), '(true mean, std)')
        note = '(mean, std of visible neighbors)'
    else:
        note = '(raw pixels)'
    rows['honest prediction'] = Row(rebuilt(True), note)
    rows['error'] = Row(painted(error_colors), '(gray: visible)', errors, True)
    if 'probs' in sample:
        relative = sample.probs.float() * len(mask)
        probs = _colors('viridis', relative, 1.0)
        images = painted(_paint(probs, relative))
        rows['probability'] = Row(images, '(1: uniform)', probs, True)
    images = painted(_uint8(np.where(hidden, DARK, LIGHT)))
    rows['mask'] = Row(images, '(light: visible)', outlined=True)
    bad = {
        'error': error.isnan().any(),
        'probability': 'probs' in sample and sample.probs.isnan().any(),
        **dict.fromkeys(('prediction', 'honest prediction'), sample.pred.isnan().any()),
    }
    for name in rows.keys() & {name for name, is_bad in bad.items() if is_bad}:
        rows[name] = rows[name]._replace(note=f'{rows[name].note[:-1]}; magenta: NaN)')
    return rows


def _colors(cmap: str, values: Tensor, share: float) -> ScalarMappable:
    """Scale colors from 0 to what this share of the finite values is below."""
    known = values[values.isfinite()]
    top = float(known.quantile(share)) if len(known) else 0.0
    norm = mpl.colors.Normalize(0, max(top, 1e-6))
    return ScalarMappable(norm, mpl.colormaps[cmap].with_extremes(bad=BAD))


def _paint(colors: ScalarMappable, values: Tensor) -> np.ndarray:
    """Give the colors of numbers: uint8, shape (N, 3)."""
    shares = colors.norm(np.ma.masked_invalid(values.clamp_max(1e30).numpy()))
    return _uint8(np.asarray(colors.cmap(shares))[..., :3])


def _uint8(images: np.ndarray) -> np.ndarray:
    if np.isnan(images).any():
        images = np.where(np.isnan(images).any(-1, keepdims=True), BAD, images)
    return np.rint(images.clip(0, 1) * 255).astype(np.uint8)
