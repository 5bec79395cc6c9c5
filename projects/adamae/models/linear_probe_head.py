"""The classifier of a linear probe."""

from __future__ import annotations

from typing import Any

from mmaction.models.heads import TimeSformerHead
from mmaction.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class LinearProbeHead(TimeSformerHead):
    """A linear layer behind a BatchNorm without weights (arXiv:2111.06377, sec. A.1).

    The norm brings the features of any encoder to one scale, so that one learning
    rate fits all; at test time it is part of the linear map.

    Args:
        num_classes (int): number of classes.
        in_channels (int): D, width of the features.
        init_std (float): of the linear layer. Defaults to 0.01.
        **kwargs: as in MMAction2's ``TimeSformerHead``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        init_std: float = 0.01,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, init_std=init_std, **kwargs)
        self.norm = nn.BatchNorm1d(in_channels, affine=False, eps=1e-6)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Turn features (B, D) into scores before softmax (B, classes)."""
        return super().forward(self.norm(x), **kwargs)
