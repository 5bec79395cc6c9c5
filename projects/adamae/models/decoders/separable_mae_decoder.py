"""The decoder of SpatiotemporalMAE: class token, positions of space and time."""

from __future__ import annotations

from typing import Any

import torch
from mmaction.registry import MODELS
from mmaction.utils import OptConfigType
from torch import Tensor, nn

from ..tokens import separable_positions
from ..transformer import init_xavier
from .mae_decoder import MAEDecoder


@MODELS.register_module()
class SeparableMAEDecoder(MAEDecoder):
    """:class:`MAEDecoder` with a class token and learnt, separable positions.

    As in "Masked Autoencoders As Spatiotemporal Learners" (arXiv:2205.09113, sec. 3),
    whose class token is not the one of the encoder; the projection of the latents has
    a bias.

    Args:
        in_channels (int): D, width of the latents. Defaults to 1024.
        grid_size (tuple[int, int, int]): tokens along time, rows, columns. Defaults
            to (8, 14, 14).
        embed_dims (int): D_dec, width of the decoder. Defaults to 512.
        num_heads (int): attention heads. Defaults to 16.
        init_cfg (dict, optional): initialisation. Defaults to None, the published one.
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
        del self.pos_embed
        steps, rows, columns = grid_size
        self.grid_size = tuple(grid_size)
        self.embed = nn.Linear(in_channels, embed_dims)
        self.cls_token = nn.Parameter(torch.empty(1, 1, embed_dims))
        self.pos_embed_class = nn.Parameter(torch.empty(1, 1, embed_dims))
        self.pos_embed_spatial = nn.Parameter(
            torch.empty(1, rows * columns, embed_dims)
        )
        self.pos_embed_temporal = nn.Parameter(torch.empty(1, steps, embed_dims))
        for table in self.parameters(recurse=False):
            nn.init.trunc_normal_(table, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)
        init_xavier(self)

    def positions(self) -> Tensor:
        """Give the position table, the sum of space and time.

        Returns:
            Tensor: shape (1, N, D_dec), float.
        """
        return separable_positions(self.pos_embed_spatial, self.pos_embed_temporal)

    def arrange(self, visible: Tensor, masked: Tensor) -> Tensor:
        """Make one sequence of class token, visible and masked tokens.

        Args:
            visible (Tensor): shape (B, V, D_dec), positions added.
            masked (Tensor): shape (B, M, D_dec), positions added.

        Returns:
            Tensor: shape (B, 1 + V + M, D_dec).
        """
        first = self.cls_token + self.pos_embed_class
        first = first.expand(visible.shape[0], -1, -1)
        return torch.cat([first, visible, masked], dim=1)
