"""Random masking over space-time."""

from __future__ import annotations

import torch
from mmaction.registry import MODELS
from torch import Tensor

from .token_sampler import TokenSampler


@MODELS.register_module()
class RandomSamplerHead(TokenSampler):
    """Keep V tokens drawn uniformly over space-time (arXiv:2205.09113, sec. 3).

    The control for the adaptive sampler. Arguments as in :class:`TokenSampler`.
    """

    def score(self, tokens: Tensor) -> tuple[Tensor, None]:
        """Give every token an independent uniform number; nothing is learned."""
        return torch.rand(tokens.shape[:2], device=tokens.device), None
