"""The encoder: MMAction2's video ViT, run on any subset of its tokens."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from mmaction.models.backbones.vit_mae import (
    VisionTransformer,
    get_sinusoid_encoding,
)
from mmaction.registry import MODELS
from mmengine.model import Sequential
from torch import Tensor, nn

from ...checkpoints import load_pretrained
from ...utils.sizes import height_and_width
from ..tokens import gather_tokens
from ..transformer import TransformerBlock


@MODELS.register_module()
class MaskedVisionTransformer(VisionTransformer):
    """MMAction2's ``VisionTransformer`` with the two halves of a masked autoencoder.

    :meth:`embed` gives all tokens, :meth:`encode` runs the blocks on some of them.
    Parameters and state-dict keys are those of the stock class, so either loads the
    other's checkpoint; ``forward`` computes the same features.

    Args:
        img_size (int | tuple[int, int]): pixels of a clip: its side, or height and
            width. Defaults to 224.
        patch_size (int): pixels along each side of a token. Defaults to 16.
        in_channels (int): color channels of a clip. Defaults to 3.
        embed_dims (int): D, width of the tokens. Defaults to 768.
        depth (int): number of transformer blocks. Defaults to 12.
        num_heads (int): attention heads. Defaults to 12.
        num_frames (int): frames of a clip. Defaults to 16.
        tubelet_size (int): frames of a token. Defaults to 2.
        drop_path_rate (float): stochastic depth of the last block, rising linearly
            from 0 at the first. Defaults to 0.
        with_cp (bool): activation checkpointing in the blocks. Defaults to False.
        **kwargs: every other argument of MMAction2's ``VisionTransformer``
            (``mlp_ratio``, ``qkv_bias``, ``norm_cfg``, ``use_mean_pooling``,
            ``init_cfg``, ...).

    Raises:
        ValueError: if ``patch_size`` does not divide both sides of ``img_size``,
            ``tubelet_size`` not ``num_frames``, or ``num_heads`` not ``embed_dims``.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        embed_dims: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        num_frames: int = 16,
        tubelet_size: int = 2,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        **kwargs: Any,
    ) -> None:
        height, width = height_and_width(img_size)
        for sizes, name, part, part_name in (
            ((height, width), f'img_size={img_size}', patch_size, 'patch_size'),
            ((num_frames,), f'num_frames={num_frames}', tubelet_size, 'tubelet_size'),
        ):
            if any(size < part or size % part for size in sizes):
                raise ValueError(
                    f'{name} is not divisible by {part_name}={part}: a clip '
                    'must be a whole number of tokens'
                )
        # The blocks are the one thing built here, hence a depth of 0.
        super().__init__(
            img_size=height,
            patch_size=patch_size,
            in_channels=in_channels,
            embed_dims=embed_dims,
            depth=0,
            num_heads=num_heads,
            num_frames=num_frames,
            tubelet_size=tubelet_size,
            **kwargs,
        )
        if width != height:  # what the stock class has for squares only
            self.grid_size = (height // patch_size, width // patch_size)
            num_tokens = num_frames // tubelet_size * prod(self.grid_size)
            if kwargs.get('use_learnable_pos_emb'):
                self.pos_embed = nn.Parameter(torch.zeros(1, num_tokens, embed_dims))
                nn.init.trunc_normal_(self.pos_embed, std=0.02)
            else:
                self.pos_embed = get_sinusoid_encoding(num_tokens, embed_dims)
        self.in_channels = in_channels
        self.tubelet_size = tubelet_size
        self.clip_size = (num_frames, height, width)
        self.token_shape = (tubelet_size, patch_size, patch_size, in_channels)
        self.token_grid = (num_frames // tubelet_size, *self.grid_size)
        self.num_tokens = self.pos_embed.shape[1]
        # Blocks take no notice of the arguments that are not theirs.
        block_cfg = {k: v for k, v in kwargs.items() if k != 'init_cfg'}
        rates = torch.linspace(0, drop_path_rate, depth).tolist()
        self.blocks = Sequential(
            *[
                TransformerBlock(
                    embed_dims,
                    num_heads,
                    with_cp=with_cp,
                    drop_path_rate=rate,
                    **block_cfg,
                )
                for rate in rates
            ]
        )

    def init_weights(self) -> None:
        """Initialize; a ``Pretrained`` checkpoint must fit to the last weight.

        MMEngine's own initializer leaves what does not fit at random; this raises a
        ``CheckpointMismatch``.
        """
        init_cfg: Any = self.init_cfg
        cfgs = init_cfg if isinstance(init_cfg, list) else [init_cfg]
        pretrained = [c for c in cfgs if c and c['type'] == 'Pretrained']
        self.init_cfg: Any = [c for c in cfgs if c and c not in pretrained]
        super().init_weights()
        self.init_cfg = init_cfg
        for cfg in pretrained:
            load_pretrained(self, cfg['checkpoint'], cfg.get('prefix'))

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips for a classifier, as MMAction2's ``VisionTransformer``.

        Args:
            x (Tensor): normalized clips, shape (B, C, T, H, W), float.

        Returns:
            Tensor: shape (B, D), or what ``return_feat_map`` asks for.

        Raises:
            ValueError: if the clips are not of the size the model was built for.
        """
        self._check_clips(x)
        return super().forward(x)

    def _check_clips(self, x: Tensor) -> None:
        expected = (self.in_channels, *self.clip_size)
        if tuple(x.shape[1:]) != expected:
            raise ValueError(
                f'expected clips of shape (B, {", ".join(map(str, expected))}) '
                f'(channels, frames, height, width), got {tuple(x.shape)}; change the '
                'data pipeline (clip_len, crop size) or the backbone (num_frames, '
                'img_size)'
            )

    def embed(self, x: Tensor) -> Tensor:
        """Cut clips into tokens (AdaMAE, sec. 3.1), (B, N, D), without positions.

        Input and error are those of :meth:`forward`.
        """
        self._check_clips(x)
        return self.patch_embed(x)[0]

    def encode(self, tokens: Tensor, visible_ids: Tensor | None = None) -> Tensor:
        """Run the transformer on the visible tokens only (AdaMAE, sec. 3.2).

        Args:
            tokens (Tensor): all tokens, from :meth:`embed`, shape (B, N, D), float.
            visible_ids (Tensor, optional): int64, shape (B, V). Defaults to all.

        Returns:
            Tensor: shape (B, V, D), normalized where the model normalizes tokens
            (``use_mean_pooling=False``).
        """
        x = tokens + self.pos_embed
        if visible_ids is not None:
            x = gather_tokens(x, visible_ids)
        return self.norm(self.blocks(self.pos_drop(x)))

    def pool(self, tokens: Tensor) -> Tensor:
        """Average all tokens (B, N, D), from :meth:`encode`, for a classifier.

        Returns:
            Tensor: shape (B, D), normalized where the tokens are not.
        """
        x = tokens.mean(1)
        return x if self.fc_norm is None else self.fc_norm(x)
