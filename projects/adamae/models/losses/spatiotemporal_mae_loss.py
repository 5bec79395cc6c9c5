"""The loss of SpatiotemporalMAE: one frame of every token."""

from __future__ import annotations

from typing import Any

from mmaction.registry import MODELS

from .adamae_loss import AdaMAELoss
from .reconstruction_target import FrameTarget


@MODELS.register_module()
class SpatiotemporalMAELoss(AdaMAELoss):
    """:class:`AdaMAELoss` on one frame of every time step, see :class:`FrameTarget`.

    Args:
        eps (float): added to the variance of pixels in [0, 1]. Defaults to 1e-6.
        token_shape (tuple[int, int, int, int]): see :class:`AdaMAELoss`.
        grid_size (tuple[int, int, int]): see :class:`AdaMAELoss`.
        **kwargs: as in :class:`AdaMAELoss`.
    """

    def __init__(
        self,
        eps: float = 1e-6,
        token_shape: tuple[int, int, int, int] = (2, 16, 16, 3),
        grid_size: tuple[int, int, int] = (8, 14, 14),
        **kwargs: Any,
    ) -> None:
        super().__init__(token_shape=token_shape, grid_size=grid_size, **kwargs)
        self.target = FrameTarget(self.target.norm_pix, token_shape, grid_size, eps)
