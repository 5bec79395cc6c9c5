"""Pure functions on space-time tokens: no state, no registry.

Tokens are numbered in the order time, row, column; the ``P`` pixel values inside
a token in the order frame, row, column, channel.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class TokenSample(NamedTuple):
    """The outcome of a draw.

    Attributes:
        mask (Tensor): bool, shape (B, N), True = masked.
        visible_ids (Tensor): int64, shape (B, V), ascending.
        masked_ids (Tensor): int64, shape (B, M), ascending.
        log_probs (Tensor, optional): float32, shape (B, N), log of the categorical
            distribution the tokens were drawn from; None if nothing is learned.
        perturbed_log_probs (Tensor, optional): float32, shape (B, N), what decided the
            draw: visible tokens have the largest, and the largest of all was drawn
            first. None if the mask was forced.
    """

    mask: Tensor
    visible_ids: Tensor
    masked_ids: Tensor
    log_probs: Tensor | None = None
    perturbed_log_probs: Tensor | None = None


def floor_product(total: int, ratio: float) -> int:
    """Compute ``int(total * ratio)``, but 1 and not 0 where that is 0.99999..."""
    return int(round(total * ratio, 6))


class TrainingStep(NamedTuple):
    """What a training step knows of single tokens, without gradient.

    Attributes:
        token_error (Tensor): error of the predicted tokens, float32, shape (B, K).
        ids (Tensor): which these are, int64, shape (B, K).
        log_probs (Tensor, optional): see :class:`TokenSample`.
    """

    token_error: Tensor
    ids: Tensor
    log_probs: Tensor | None


def entropy(log_probs: Tensor) -> Tensor:
    """Compute the entropy of categorical distributions.

    Args:
        log_probs (Tensor): finite logarithms of probabilities, shape (..., N), float.

    Returns:
        Tensor: in nats, shape (...).
    """
    return -(log_probs.exp() * log_probs).sum(dim=-1)


def effective_tokens(relative_entropy: float, num_tokens: int) -> float:
    """Count the equally likely tokens whose entropy is the same: its exponential.

    Args:
        relative_entropy (float): entropy over that of the uniform distribution.
        num_tokens (int): N.

    Returns:
        float: from 1 to N.
    """
    return num_tokens**relative_entropy


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
    # torch.take_along_dim would keep an index for every value until backward.
    return x.expand(ids.shape[0], *x.shape[1:]).gather(
        1, ids.expand(-1, -1, *x.shape[2:])
    )


def check_mask(mask: Tensor, shape: tuple[int, ...]) -> int:
    """Check a forced mask. This waits for the device; a drawn mask never does.

    Args:
        mask (Tensor): bool, shape (B, N), True = masked.
        shape (tuple[int, int]): the shape it must have.

    Returns:
        int: V, the number of visible tokens in every row.

    Raises:
        ValueError: if it has another shape or dtype, rows that differ in their number
            of masked tokens, or no visible or no masked token.
    """
    if mask.shape != shape or mask.dtype != torch.bool:
        raise ValueError(
            f'mask: expected bool of shape {tuple(shape)}, got {mask.dtype} of shape '
            f'{tuple(mask.shape)}'
        )
    counts = (~mask).sum(dim=1).unique().tolist()
    if len(counts) != 1 or not 1 <= counts[0] < shape[1]:
        raise ValueError(
            f'mask: expected the same number of visible tokens, 1 to {shape[1] - 1}, '
            f'in every row, got {counts}'
        )
    return counts[0]


def split_ids(mask: Tensor, num_visible: int) -> tuple[Tensor, Tensor]:
    """List the visible and the masked tokens of a mask.

    Args:
        mask (Tensor): bool, shape (B, N), True = masked.
        num_visible (int): V in every row; to count it is to wait for the device.

    Returns:
        tuple[Tensor, Tensor]: ids (B, V) and (B, M), int64, ascending.
    """
    order = mask.to(torch.uint8).argsort(dim=1, stable=True)
    return order[:, :num_visible], order[:, num_visible:]


def token_statistics(patches: Tensor, eps: float = 1e-6) -> tuple[Tensor, Tensor]:
    """Compute what :func:`normalize_patches` subtracts and divides by.

    Args:
        patches (Tensor): pixels, shape (B, N, P // C, C), float.
        eps (float): added to the standard deviation. Defaults to 1e-6.

    Returns:
        tuple[Tensor, Tensor]: mean and standard deviation, shape (B, N, 1, C).
    """
    var, mean = torch.var_mean(patches, dim=2, keepdim=True)
    return mean, var.sqrt() + eps


def normalize_patches(patches: Tensor, eps: float = 1e-6) -> Tensor:
    """Standardize every token's pixels, channel by channel (AdaMAE, sec. 3.2).

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
    mean, std = token_statistics(patches, eps)
    return (patches - mean) / std


def denormalize_patches(values: Tensor, patches: Tensor, eps: float = 1e-6) -> Tensor:
    """Undo :func:`normalize_patches`.

    Args:
        values (Tensor): normalized, shape (B, N, P // C, C), float.
        patches (Tensor): pixels whose mean and standard deviation are put back, same
            shape.
        eps (float): as in :func:`normalize_patches`. Defaults to 1e-6.

    Returns:
        Tensor: same shape.
    """
    mean, std = token_statistics(patches, eps)
    return values * std + mean
