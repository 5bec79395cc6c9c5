"""A uniform choice of tokens to predict."""

from __future__ import annotations

import torch
from mmaction.registry import MODELS
from torch import Tensor

from .token_subset import TokenSubset


@MODELS.register_module()
class RandomSubset(TokenSubset):
    """Choose uniformly, without replacement; all weights are 1 / K.

    Arguments as in :class:`TokenSubset`.
    """

    def forward(
        self, masked_ids: Tensor, log_probs: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Choose; see :meth:`TokenSubset.forward`."""
        count = self.count(masked_ids.shape[1])
        noise = torch.rand(masked_ids.shape, device=masked_ids.device)
        ids = masked_ids.gather(1, noise.topk(count, dim=1, sorted=False).indices)
        return ids, torch.full(ids.shape, 1 / count, device=ids.device)
