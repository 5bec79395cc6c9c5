"""The light decoder that rebuilds masked tokens."""

from __future__ import annotations

from math import prod

import torch
from mmaction.models.backbones.vit_mae import get_sinusoid_encoding
from mmaction.registry import MODELS
from mmaction.utils import ConfigType
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule, Sequential
from torch import Tensor, nn

from ..tokens import gather_tokens
from ..transformer import TransformerBlock


@MODELS.register_module()
class MAEDecoder(BaseModule):
    """Predict the pixels of the masked tokens from the visible ones (AdaMAE, sec. 3.2).

    The visible latents come first and the mask tokens after them: attention does not
    depend on the order, so nothing is put back in place.

    Args:
        in_channels (int): D, width of the latents. Defaults to 768.
        out_channels (int): P, pixel values of a token. Defaults to 1536.
        grid_size (tuple[int, int, int]): tokens along time, rows, columns. Defaults
            to (8, 14, 14).
        embed_dims (int): D_dec, width of the decoder. Defaults to 384.
        depth (int): number of transformer blocks. Defaults to 4.
        num_heads (int): attention heads. Defaults to 6.
        mlp_ratio (float): hidden width of a block's MLP over its width. Defaults to 4.
        norm_cfg (dict): normalization layer. Defaults to LayerNorm with eps 1e-6.
        with_cp (bool): activation checkpointing in the blocks. Defaults to False.
        init_cfg (dict): initialization. Defaults to the published one: Xavier uniform,
            but torch's own for the projection of the latents.

    Raises:
        ValueError: if ``num_heads`` does not divide ``embed_dims``.
    """

    def __init__(
        self,
        in_channels: int = 768,
        out_channels: int = 1536,
        grid_size: tuple[int, int, int] = (8, 14, 14),
        embed_dims: int = 384,
        depth: int = 4,
        num_heads: int = 6,
        mlp_ratio: float = 4.0,
        norm_cfg: ConfigType = dict(type='LN', eps=1e-6),
        with_cp: bool = False,
        init_cfg: ConfigType = dict(
            type='Xavier',
            layer='Linear',
            distribution='uniform',
            # The default of torch, as an initializer of MMEngine.
            override=dict(
                type='Kaiming',
                name='embed',
                a=5**0.5,
                nonlinearity='leaky_relu',
                mode='fan_in',
                distribution='uniform',
            ),
        ),
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.embed = nn.Linear(in_channels, embed_dims, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, embed_dims))
        self.register_buffer(
            'pos_embed',
            get_sinusoid_encoding(prod(grid_size), embed_dims),
            persistent=False,
        )
        self.blocks = Sequential(
            *[
                TransformerBlock(
                    embed_dims,
                    num_heads,
                    with_cp=with_cp,
                    mlp_ratio=mlp_ratio,
                    norm_cfg=norm_cfg,
                )
                for _ in range(depth)
            ]
        )
        self.norm = build_norm_layer(norm_cfg, embed_dims)[1]
        self.head = nn.Linear(embed_dims, out_channels)
        # Cut at one standard deviation, as published.
        nn.init.trunc_normal_(self.mask_token, std=0.02, a=-0.02, b=0.02)

    def forward(
        self, latents: Tensor, visible_ids: Tensor, masked_ids: Tensor
    ) -> Tensor:
        """Predict.

        Args:
            latents (Tensor): encoded visible tokens, shape (B, V, D), float.
            visible_ids (Tensor): their positions, int64, shape (B, V).
            masked_ids (Tensor): the positions to predict, int64, shape (B, M).

        Returns:
            Tensor: shape (B, M, P), in the order of ``masked_ids``.
        """
        table = self.positions()
        visible = self.embed(latents) + gather_tokens(table, visible_ids)
        masked = self.mask_token + gather_tokens(table, masked_ids)
        x = self.blocks(self.arrange(visible, masked))
        return self.head(self.norm(x[:, -masked_ids.shape[1] :]))

    def positions(self) -> Tensor:
        """Give the position table, shape (1, N, D_dec), float."""
        return self.pos_embed

    def arrange(self, visible: Tensor, masked: Tensor) -> Tensor:
        """Make one sequence of (B, V, D_dec) and (B, M, D_dec), masked ones last."""
        return torch.cat([visible, masked], dim=1)
