"""Numbers that tell whether a pre-training is all right."""

from __future__ import annotations

from functools import lru_cache
from math import log, nan, prod

import torch
from torch import Tensor

from ..models.tokens import TrainingStep, entropy, floor_product

_TOP = 0.05
_ZONES = 4


def top_share(log_probs: Tensor, share: float = _TOP) -> Tensor:
    """Sum up the probability of the most probable tokens.

    Args:
        log_probs (Tensor): shape (B, N), float32.
        share (float): of the N tokens, rounded down, but 1 token at least. Defaults to
            0.05.

    Returns:
        Tensor: shape (B,), in [0, 1]; for equal probabilities about ``share``.
    """
    count = max(1, floor_product(log_probs.shape[1], share))
    return log_probs.topk(count, dim=1, sorted=False).values.exp().sum(dim=1)


def probability_by_time(log_probs: Tensor, grid_size: tuple[int, int, int]) -> Tensor:
    """Compare the probability of each time step with that of equal probabilities.

    Args:
        log_probs (Tensor): shape (B, N), float32.
        grid_size (tuple[int, int, int]): t time steps, rows, columns of tokens.

    Returns:
        Tensor: shape (B, t); 1 is a step as probable as the average one.
    """
    steps = grid_size[0]
    return log_probs.exp().unflatten(1, (steps, -1)).sum(dim=2) * steps


def distance_zones(grid_size: tuple[int, int, int]) -> list[int]:
    """Sort the positions of a frame into four zones by distance from its center.

    Each zone has a quarter of the positions, the innermost is zone 0. Positions of one
    distance are in one zone, that of the first of them: zones differ in size, and of a
    few positions some have none.

    Args:
        grid_size (tuple[int, int, int]): time steps, rows, columns of tokens.

    Returns:
        list[int]: zone of each position, in [0, 4), in the order row, column.
    """
    _, rows, columns = grid_size
    # In half tokens, squared: whole numbers, so that ties are ties.
    distances = [
        (2 * row - rows + 1) ** 2 + (2 * column - columns + 1) ** 2
        for row in range(rows)
        for column in range(columns)
    ]
    order = sorted(distances)
    return [_ZONES * order.index(d) // len(order) for d in distances]


def probability_by_distance(
    log_probs: Tensor, grid_size: tuple[int, int, int]
) -> dict[int, Tensor]:
    """Compare the probability of each zone with that of equal probabilities.

    Args:
        log_probs (Tensor): shape (B, N), float32.
        grid_size (tuple[int, int, int]): time steps, rows, columns of tokens.

    Returns:
        dict[int, Tensor]: by the number of the zone, see :func:`distance_zones`, those
        that have tokens: shape (B,); 1 is a zone whose tokens have the average
        probability.
    """
    numbers, weights = _zone_weights(tuple(grid_size), log_probs.device)
    by_position = log_probs.exp().unflatten(1, (grid_size[0], -1)).sum(dim=1)
    relative = (by_position.unsqueeze(-1) * weights).sum(dim=1)
    return dict(zip(numbers, relative.unbind(dim=1), strict=True))


@lru_cache  # the copy to the device waits for it: once
def _zone_weights(
    grid_size: tuple[int, int, int], device: torch.device
) -> tuple[list[int], Tensor]:
    """Give the zones that have tokens, and weights (positions, zones)."""
    zones = torch.tensor(distance_zones(grid_size))
    numbers = zones.unique()
    weights = (zones[:, None] == numbers).float()
    return numbers.tolist(), (weights * len(zones) / weights.sum(dim=0)).to(device)


def ranks(values: Tensor) -> Tensor:
    """Rank numbers from 0; equal ones get the mean of their ranks.

    Args:
        values (Tensor): shape (B, K), float.

    Returns:
        Tensor: shape (B, K), float32.
    """
    ordered = values.sort(dim=1).values
    values = values.contiguous()
    first = torch.searchsorted(ordered, values)
    after = torch.searchsorted(ordered, values, right=True)
    return (first + after - 1).float() / 2


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Compute Spearman's rank correlation, row by row.

    Args:
        a (Tensor): shape (B, K), float.
        b (Tensor): the same.

    Returns:
        Tensor: shape (B,), in [-1, 1], float32; 0 where all numbers of a row are equal.
    """
    a, b = ranks(a), ranks(b)
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    scale = (a.square().sum(dim=1) * b.square().sum(dim=1)).sqrt()
    return torch.where(scale > 0, (a * b).sum(dim=1) / scale.clamp_min(1e-12), 0.0)


def sampling_curves(
    step: TrainingStep, grid_size: tuple[int, int, int]
) -> dict[str, Tensor]:
    """Summarize what a learned sampler did in a training step, without a wait for it.

    Args:
        step (TrainingStep): of B clips.
        grid_size (tuple[int, int, int]): time steps, rows, columns of tokens.

    Returns:
        dict[str, Tensor]: shape (B,), float32, nothing if no sampler learns:

        - ``entropy``: of the sampling probabilities, over that of equal ones;
        - ``top5_share``: see :func:`top_share`;
        - ``error_correlation``: rank correlation of probability and error over the
          predicted tokens of a clip;
        - ``probability_time_<step>``, ``probability_distance_<zone>``: see
          :func:`probability_by_time` and :func:`probability_by_distance`.
    """
    log_probs = step.log_probs
    if log_probs is None:
        return {}
    known = log_probs.gather(1, step.ids)
    by_time = probability_by_time(log_probs, grid_size).unbind(dim=1)
    by_distance = probability_by_distance(log_probs, grid_size)
    return {
        'entropy': entropy(log_probs) / log(prod(grid_size)),
        'top5_share': top_share(log_probs),
        'error_correlation': rank_correlation(known, step.token_error),
        **{f'probability_time_{i}': v for i, v in enumerate(by_time)},
        **{f'probability_distance_{i}': v for i, v in by_distance.items()},
    }


def rankme(features: Tensor, eps: float = 1e-7) -> float:
    """Estimate how many directions features use: RankMe (arXiv:2210.02885, eq. 1).

    ``exp(-sum_k p_k log p_k)`` with ``p_k = sigma_k / sum(sigma) + eps``, where sigma
    are the singular values.

    Args:
        features (Tensor): shape (V, D), float.
        eps (float): as above. Defaults to 1e-7.

    Returns:
        float: from 1, all vectors are multiples of one, to min(V, D); NaN
        where some feature is not finite.
    """
    if not features.isfinite().all():
        return nan  # a curve must not end a training
    singular = torch.linalg.svdvals(features.double())
    shares = singular / singular.sum().clamp_min(torch.finfo(singular.dtype).tiny)
    return entropy((shares + eps).log()).exp().item()
