"""Tube masking."""

from __future__ import annotations

import torch
from mmaction.registry import MODELS
from torch import Tensor

from ..tokens import floor_product
from .token_sampler import TokenSampler


@MODELS.register_module()
class TubeSamplerHead(TokenSampler):
    """Hide the same positions at every time step.

    As in VideoMAE (arXiv:2203.12602, sec. 3.3). ``int(ratio * rows * columns)``
    positions are masked: at a ratio of 0.9, 176 of 14 x 14, which leaves 160 of 1568
    tokens visible. Arguments as in :class:`TokenSampler`.
    """

    def count(self, mask_ratio: float) -> int:
        """Count visible tokens; it is the masked positions that are rounded down."""
        steps, rows, columns = self.grid_size
        return steps * (rows * columns - floor_product(rows * columns, mask_ratio))

    def score(self, tokens: Tensor) -> tuple[Tensor, None]:
        """Rank positions at random, the same for all time steps; nothing is learned."""
        steps, rows, columns = self.grid_size
        noise = torch.rand(tokens.shape[0], rows * columns, device=tokens.device)
        # Ranks, because two positions with the same number could be kept in part.
        ranks = noise.argsort(dim=1).argsort(dim=1).float()
        return ranks.repeat(1, steps), None
