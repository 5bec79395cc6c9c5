"""The encoder as it is, for a classifier on top of it."""

from __future__ import annotations

from typing import Any

import torch
from mmaction.registry import MODELS
from torch import Tensor

from .masked_vit import MaskedVisionTransformer


class Frozen(MaskedVisionTransformer):
    """What makes an encoder one that is not trained any further, for linear probes.

    It gives the mean over its normalised tokens, which is the vector of
    ``features.encode``, and stays in evaluation mode. State-dict keys are those of
    pre-training, the final norm included.

    Args:
        **kwargs: as in the encoder.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, 'use_mean_pooling': False})
        self.requires_grad_(False)

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation mode: no dropout of units or paths."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Encode clips.

        Args:
            x (Tensor): normalised clips, shape (B, C, T, H, W), float.

        Returns:
            Tensor: shape (B, D).
        """
        return self.pool(self.encode(self.embed(x)))


@MODELS.register_module()
class FrozenVisionTransformer(Frozen):
    """A pre-trained ``MaskedVisionTransformer`` for linear probes, see :class:`Frozen`.

    Args:
        **kwargs: as in :class:`MaskedVisionTransformer`.
    """
