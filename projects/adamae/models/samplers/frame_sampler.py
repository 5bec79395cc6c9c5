"""Frame masking."""

from __future__ import annotations

from math import prod

import torch
from mmaction.registry import MODELS
from torch import Tensor

from ..tokens import floor_product
from .token_sampler import TokenSampler


@MODELS.register_module()
class FrameSamplerHead(TokenSampler):
    """Hide whole time steps (AdaMAE, sec. 4.3, Table 1).

    ``int(steps * (1 - ratio))`` time steps keep all of their tokens: one of 8 at a
    ratio of 0.875. Arguments as in :class:`TokenSampler`.
    """

    def count(self, mask_ratio: float) -> int:
        """Count visible tokens: whole time steps."""
        steps, *frame = self.grid_size
        return floor_product(steps, 1 - mask_ratio) * prod(frame)

    def score(self, tokens: Tensor) -> tuple[Tensor, None]:
        """Rank time steps at random, the same for all positions; nothing is learned."""
        steps, *frame = self.grid_size
        noise = torch.rand(tokens.shape[0], steps, device=tokens.device)
        # Ranks, because two steps with the same number could be kept in part.
        ranks = noise.argsort(dim=1).argsort(dim=1).float()
        return ranks.repeat_interleave(prod(frame), dim=1), None
