"""Pure functions on space-time tokens: no state, no registry.

Tokens are numbered in the order time, row, column; the ``P`` pixel values inside
a token in the order frame, row, column, channel.
"""

from __future__ import annotations

from collections.abc import Callable
from math import floor

import torch
from torch import Tensor


def num_visible(
    num_tokens: int,
    mask_ratio: float,
    unit: str = 'tokens',
    rounding: Callable[[float], int] = floor,
) -> int:
    """Count the tokens that a mask ratio leaves visible: ``int(N * (1 - ratio))``.

    Args:
        num_tokens (int): N, tokens in a clip.
        mask_ratio (float): share of masked tokens, in (0, 1).
        unit (str): what is counted, for the error. Defaults to ``'tokens'``.
        rounding (Callable): makes a whole number of it. Defaults to ``floor``.

    Returns:
        int: V, in [1, N - 1]. The product is rounded to 6 decimals first, so that
        a ratio of 0.9 leaves 1 of 10 tokens and not ``int(0.99999...) == 0``.

    Raises:
        ValueError: if the ratio is outside (0, 1), or leaves no token visible, or
            none masked.
    """
    if not 0 < mask_ratio < 1:
        raise ValueError(f'mask_ratio: expected a number in (0, 1), got {mask_ratio}')
    visible = rounding(round(num_tokens * (1 - mask_ratio), 6))
    if not 1 <= visible < num_tokens:
        raise ValueError(
            f'mask_ratio={mask_ratio} leaves {visible} of {num_tokens} {unit} visible: '
            f'expected 1 to {num_tokens - 1}; change the ratio, or the clip and patch '
            'sizes'
        )
    return visible


def patchify(clips: Tensor, patch_size: int, tubelet_size: int) -> Tensor:
    """Cut clips into the pixels of their tokens.

    Args:
        clips (Tensor): shape (B, C, T, H, W), any dtype.
        patch_size (int): pixels along each side of a token; divides H and W.
        tubelet_size (int): frames in a token; divides T.

    Returns:
        Tensor: shape (B, N, P // C, C), pixels in the order frame, row, column.
    """
    b, c, t, h, w = clips.shape
    p, u = patch_size, tubelet_size
    x = clips.reshape(b, c, t // u, u, h // p, p, w // p, p)
    x = x.permute(0, 2, 4, 6, 3, 5, 7, 1)  # b, t, h, w, u, p, p, c
    return x.reshape(b, (t // u) * (h // p) * (w // p), u * p * p, c)


def unpatchify(
    patches: Tensor,
    token_grid: tuple[int, int, int],
    patch_size: int,
    tubelet_size: int,
) -> Tensor:
    """Put token pixels back together; the inverse of :func:`patchify`.

    Args:
        patches (Tensor): shape (B, N, P // C, C).
        token_grid (tuple[int, int, int]): tokens along time, rows, columns.
        patch_size (int): pixels along each side of a token.
        tubelet_size (int): frames in a token.

    Returns:
        Tensor: shape (B, C, T, H, W).
    """
    t, h, w = token_grid
    b, c = patches.shape[0], patches.shape[-1]
    p, u = patch_size, tubelet_size
    x = patches.reshape(b, t, h, w, u, p, p, c).permute(0, 7, 1, 4, 2, 5, 3, 6)
    return x.reshape(b, c, t * u, h * p, w * p)


def gather_tokens(x: Tensor, ids: Tensor) -> Tensor:
    """Pick tokens by number.

    Args:
        x (Tensor): shape (B, N, ...), or (1, N, ...) for a table shared by the batch.
        ids (Tensor): int64, shape (B, K), values in [0, N).

    Returns:
        Tensor: shape (B, K, ...).
    """
    ids = ids.reshape(*ids.shape, *[1] * (x.ndim - 2))
    return x.expand(ids.shape[0], *x.shape[1:]).gather(
        1, ids.expand(-1, -1, *x.shape[2:])
    )


def separable_positions(spatial: Tensor, temporal: Tensor) -> Tensor:
    """Add a position table over space and one over time (arXiv:2205.09113, sec. 3).

    Args:
        spatial (Tensor): shape (1, rows * columns, D), float.
        temporal (Tensor): shape (1, steps, D), float.

    Returns:
        Tensor: shape (1, steps * rows * columns, D), in token order.
    """
    return (temporal.unsqueeze(2) + spatial.unsqueeze(1)).flatten(1, 2)


def count_visible(mask: Tensor, shape: tuple[int, int]) -> int:
    """Check a forced mask. This waits for the device, a drawn mask never does.

    Args:
        mask (Tensor): bool, shape (B, N), True = masked.
        shape (tuple[int, int]): the shape it must have.

    Returns:
        int: V, the number of visible tokens in every row.

    Raises:
        ValueError: if it has another shape or dtype, rows that differ in their number
            of masked tokens, or no visible or no masked token.
    """
    if tuple(mask.shape) != shape or mask.dtype != torch.bool:
        raise ValueError(
            f'mask: expected bool of shape {shape}, got {mask.dtype} of shape '
            f'{tuple(mask.shape)}'
        )
    counts = (~mask).sum(dim=1).unique().tolist()
    if len(counts) != 1 or not 1 <= counts[0] < shape[1]:
        raise ValueError(
            f'mask: expected the same number of visible tokens, 1 to {shape[1] - 1}, '
            f'in every row, got {counts}'
        )
    return counts[0]


def split_ids(mask: Tensor, visible: int) -> tuple[Tensor, Tensor]:
    """List the visible and the masked tokens of a mask.

    Args:
        mask (Tensor): bool, shape (B, N), True = masked.
        visible (int): V, number of visible tokens in every row. It is an argument,
            and not counted, so that no device has to be waited for.

    Returns:
        tuple[Tensor, Tensor]: visible ids (B, V) and masked ids (B, M), int64,
        ascending.
    """
    order = mask.to(torch.uint8).argsort(dim=1, stable=True)
    return order[:, :visible], order[:, visible:]


def normalise_patches(patches: Tensor, eps: float = 1e-6) -> Tensor:
    """Standardise every token's pixels, channel by channel (AdaMAE, sec. 3.2).

    Args:
        patches (Tensor): pixels in [0, 1], shape (B, N, P // C, C), float.
        eps (float): added to the standard deviation. Defaults to 1e-6.

    Returns:
        Tensor: same shape; mean 0 and unbiased variance 1 over dim 2.

    Raises:
        ValueError: if ``patches`` is not 4-dimensional.
    """
    if patches.ndim != 4:
        raise ValueError(
            'patches: expected shape (B, N, P // C, C), got '
            f'{tuple(patches.shape)}; see tokens.patchify'
        )
    var, mean = torch.var_mean(patches, dim=2, keepdim=True)
    return (patches - mean) / (var.sqrt() + eps)


def denormalise_patches(values: Tensor, patches: Tensor, eps: float = 1e-6) -> Tensor:
    """Put mean and deviation of pixels back: undo :func:`normalise_patches`.

    Args:
        values (Tensor): normalised, shape (B, N, P // C, C), float.
        patches (Tensor): pixels with the mean and deviation wanted, same shape.
        eps (float): as in :func:`normalise_patches`. Defaults to 1e-6.

    Returns:
        Tensor: same shape.
    """
    var, mean = torch.var_mean(patches, dim=2, keepdim=True)
    return values * (var.sqrt() + eps) + mean
