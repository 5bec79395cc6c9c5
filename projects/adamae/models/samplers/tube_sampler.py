"""Tube masking."""

from __future__ import annotations

from math import ceil

import torch
from mmaction.registry import MODELS
from torch import Tensor

from ..tokens import num_visible
from .token_sampler import TokenSampler


@MODELS.register_module()
class TubeSamplerHead(TokenSampler):
    """Hide the same places at every time step (VideoMAE, arXiv:2203.12602, sec. 3.3).

    ``int(ratio * rows * columns)`` places are masked: at a ratio of 0.9, 176 of
    14 x 14, which leaves 160 of 1568 tokens visible. Arguments as in
    :class:`TokenSampler`.
    """

    def count(self, mask_ratio: float) -> int:
        """Count visible tokens; it is the masked places that are rounded down."""
        steps, rows, columns = self.grid_size
        return steps * num_visible(rows * columns, mask_ratio, 'places', ceil)

    def score(self, tokens: Tensor) -> tuple[Tensor, None]:
        """Rank places at random, the same for all time steps; nothing is learnt."""
        steps, rows, columns = self.grid_size
        keys = torch.rand(tokens.shape[0], rows * columns, device=tokens.device)
        # Ranks, because two places with the same key could be kept in part.
        ranks = keys.argsort(dim=1).argsort(dim=1).float()
        return ranks.repeat(1, steps), None
