"""The decoder of SpatiotemporalMAE: class token, positions of space and time."""

from __future__ import annotations

from typing import Any

from mmaction.registry import MODELS
from mmaction.utils import OptConfigType
from torch import Tensor, nn

from ..separable import SeparablePositionsMixin, init_xavier
from .mae_decoder import MAEDecoder


@MODELS.register_module()
class SeparableMAEDecoder(SeparablePositionsMixin, MAEDecoder):
    """:class:`MAEDecoder` with a class token and learned, separable positions.

    As in "Masked Autoencoders As Spatiotemporal Learners" (arXiv:2205.09113, sec. 3),
    whose class token is not the one of the encoder; the projection of the latents has
    a bias.

    Args:
        in_channels (int): D, width of the latents. Defaults to 1024.
        grid_size (tuple[int, int, int]): tokens along time, rows, columns. Defaults
            to (8, 14, 14).
        embed_dims (int): D_dec, width of the decoder. Defaults to 512.
        num_heads (int): attention heads. Defaults to 16.
        init_cfg (dict, optional): initialization. Defaults to None, the published one.
        **kwargs: as in :class:`MAEDecoder`.

    Raises:
        ValueError: if ``num_heads`` does not divide ``embed_dims``.
    """

    def __init__(
        self,
        in_channels: int = 1024,
        grid_size: tuple[int, int, int] = (8, 14, 14),
        embed_dims: int = 512,
        num_heads: int = 16,
        init_cfg: OptConfigType = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            grid_size=grid_size,
            embed_dims=embed_dims,
            num_heads=num_heads,
            init_cfg=init_cfg,
            **kwargs,
        )
        self.grid_size = tuple(grid_size)
        self.add_tables(grid_size, embed_dims)
        self.embed = nn.Linear(in_channels, embed_dims)
        nn.init.normal_(self.mask_token, std=0.02)
        nn.init.zeros_(self.cls_token)  # as published; the encoder's is not
        init_xavier(self)

    def arrange(self, visible: Tensor, masked: Tensor) -> Tensor:
        """Make one sequence of class token, visible and masked tokens."""
        return self.with_class_token(visible, masked)
