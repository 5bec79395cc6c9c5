"""The encoder as it is, for a classifier on top of it."""

from __future__ import annotations

from typing import Any

import torch
from mmaction.registry import MODELS
from torch import Tensor

from .masked_vit import MaskedVisionTransformer


class FrozenMixin(MaskedVisionTransformer):
    """What makes an encoder one that is not trained any further, for linear probes.

    It gives the mean over its normalized tokens, the vector of
    ``evaluation.features.encode``, and stays in evaluation mode. State-dict keys are
    those of pre-training, the final norm included.

    Args:
        **kwargs: as in the encoder; ``use_mean_pooling`` defaults to False.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{'use_mean_pooling': False, **kwargs})
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> FrozenMixin:
        """Stay in evaluation mode: no dropout and no stochastic depth."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Encode normalized clips (B, C, T, H, W): features (B, D)."""
        return self.pool(self.encode(self.embed(x)))


@MODELS.register_module()
class FrozenVisionTransformer(FrozenMixin):
    """A pre-trained ``MaskedVisionTransformer`` for linear probes.

    See :class:`FrozenMixin`.
    """
