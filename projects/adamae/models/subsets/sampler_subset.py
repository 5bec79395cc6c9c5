"""Tokens to predict, drawn by the learned sampler."""

from __future__ import annotations

import torch
from mmaction.registry import MODELS
from torch import Tensor

from .token_subset import TokenSubset


def systematic_draw(probs: Tensor, start: Tensor, count: int) -> Tensor:
    """Draw ``count`` items with one random number (systematic sampling, Madow 1949).

    Evenly spaced points, of which ``start`` gives the first, are looked up in the
    running sum of the probabilities. Item i comes ``count * p_i`` times on average,
    and never more than one time more or less than that: twice only if p_i is larger
    than ``1 / count``.

    Args:
        probs (Tensor): shape (B, M), float, every row sums to 1.
        start (Tensor): shape (B, 1), float, uniform in [0, 1).
        count (int): K.

    Returns:
        Tensor: positions, int64, shape (B, K), ascending.
    """
    # Summed in double: a probability of 1e-3 near a sum of 1 would lose digits.
    running = probs.double().cumsum(dim=1)
    points = (torch.arange(count, device=probs.device) + start) / count
    positions = torch.searchsorted(
        running / running[:, -1:], points.double(), right=True
    )
    return positions.clamp_max(probs.shape[1] - 1)


@MODELS.register_module()
class SamplerSubset(TokenSubset):
    """Draw tokens from the sampler's own distribution, limited to masked tokens.

    Experimental: no run has used it.

    A sampler that has learned where the error is large makes this importance sampling:
    the estimate varies least when the probability of a token is proportional to its
    error. The draw is ``q = (1 - mix_uniform) * P / P(masked) + mix_uniform / M``, by
    :func:`systematic_draw`, and the weight of a drawn token ``1 / (K * M * q_i)``. This
    is unbiased for any q, with or without a token that comes twice, and, unlike draws
    without replacement, needs no correction for the order. The uniform part keeps
    weights below ``1 / (K * mix_uniform)``.

    Args:
        mix_uniform (float): share of the uniform distribution in q, in (0, 1].
            Defaults to 0.1.
        keep_ratio (float): see :class:`TokenSubset`. Defaults to 0.5.
        grid_size (tuple[int, int, int]): see :class:`TokenSubset`.

    Raises:
        ValueError: if a ratio or share is outside (0, 1].
    """

    def __init__(
        self,
        mix_uniform: float = 0.1,
        keep_ratio: float = 0.5,
        grid_size: tuple[int, int, int] = (8, 14, 14),
    ) -> None:
        super().__init__(keep_ratio, grid_size)
        if not 0 < mix_uniform <= 1:
            raise ValueError(
                f'mix_uniform: expected a share in (0, 1], got {mix_uniform}'
            )
        self.mix_uniform = mix_uniform

    @torch.no_grad()
    def forward(
        self, masked_ids: Tensor, log_probs: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Choose; see :meth:`TokenSubset.forward`.

        Raises:
            ValueError: if there are no log-probabilities: the sampler learns nothing.
        """
        if log_probs is None:
            raise ValueError(
                'SamplerSubset: expected the log-probabilities of a learned sampler, '
                'got None; use RandomSubset or RunningCellSubset with this sampler'
            )
        batch, masked = masked_ids.shape
        count = self.count(masked)
        probs = log_probs.gather(1, masked_ids).softmax(dim=1)
        probs = probs.mul(1 - self.mix_uniform).add(self.mix_uniform / masked)
        start = torch.rand(batch, 1, device=probs.device)
        chosen = systematic_draw(probs, start, count)
        weights = 1 / (count * masked * probs.gather(1, chosen))
        return masked_ids.gather(1, chosen), weights
