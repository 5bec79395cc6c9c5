"""The encoder of SpatiotemporalMAE: class token, positions of space and time."""

from __future__ import annotations

from typing import Any

import torch
from mmaction.registry import MODELS
from mmaction.utils import OptConfigType
from torch import Tensor, nn

from ..tokens import gather_tokens, separable_positions
from ..transformer import init_xavier
from .masked_vit import MaskedVisionTransformer


@MODELS.register_module()
class SeparableVisionTransformer(MaskedVisionTransformer):
    """Video ViT with a class token and learnt, separable positions.

    As in "Masked Autoencoders As Spatiotemporal Learners" (arXiv:2205.09113, sec. 3):
    the position of a token is the sum of one of its place in the frame and one of its
    time step; the class token has its own. It takes part in attention and is left out
    of what :meth:`encode` returns: the published classifier averages the patch tokens
    too.

    The final norm is called ``norm`` in pre-training and in fine-tuning, before and
    after the mean, so that fine-tuning goes on from the pre-trained one as published.

    Args:
        use_mean_pooling (bool): normalise the mean of the tokens (fine-tuning) and not
            each token (pre-training). Defaults to True.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=...)``.
            Defaults to None, the published initialisation.
        **kwargs: as in :class:`MaskedVisionTransformer`, but for ``return_feat_map``
            and ``use_learnable_pos_emb``.

    Raises:
        ValueError: as :class:`MaskedVisionTransformer`, or if one of the two options
            that are not there is asked for.
    """

    def __init__(
        self,
        use_mean_pooling: bool = True,
        init_cfg: OptConfigType = None,
        **kwargs: Any,
    ) -> None:
        for option in ('return_feat_map', 'use_learnable_pos_emb'):
            if kwargs.get(option):
                raise ValueError(
                    f'{option}=True: SeparableVisionTransformer has no such option; '
                    'its positions are always learnt, its features one vector a clip'
                )
        super().__init__(use_mean_pooling=False, init_cfg=init_cfg, **kwargs)
        self.use_mean_pooling = use_mean_pooling
        del self.pos_embed
        steps, rows, columns = self.token_grid
        width = self.embed_dims
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed_class = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed_spatial = nn.Parameter(torch.empty(1, rows * columns, width))
        self.pos_embed_temporal = nn.Parameter(torch.empty(1, steps, width))
        for table in self.parameters(recurse=False):
            nn.init.trunc_normal_(table, std=0.02)
        init_xavier(self)
        nn.init.xavier_uniform_(self.patch_embed.projection.weight.data.flatten(1))

    def encode(self, tokens: Tensor, visible_ids: Tensor | None = None) -> Tensor:
        """Run the transformer on the class token and the visible tokens.

        Args:
            tokens (Tensor): all tokens, from :meth:`embed`, shape (B, N, D), float.
            visible_ids (Tensor, optional): int64, shape (B, V). Defaults to all.

        Returns:
            Tensor: shape (B, V, D), without the class token; normalised where the model
            normalises tokens (``use_mean_pooling=False``).
        """
        x = tokens + separable_positions(
            self.pos_embed_spatial, self.pos_embed_temporal
        )
        if visible_ids is not None:
            x = gather_tokens(x, visible_ids)
        first = (self.cls_token + self.pos_embed_class).expand(x.shape[0], -1, -1)
        x = torch.cat([first, x], dim=1)
        x = self.blocks(self.pos_drop(x))[:, 1:]
        return x if self.use_mean_pooling else self.norm(x)

    def pool(self, tokens: Tensor) -> Tensor:
        """Average the patch tokens; normalise after that where tokens are not.

        Args:
            tokens (Tensor): all of them, from :meth:`encode`, shape (B, N, D), float.

        Returns:
            Tensor: shape (B, D).
        """
        x = tokens.mean(1)
        return self.norm(x) if self.use_mean_pooling else x

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips for a classifier.

        Args:
            x (Tensor): normalised clips, shape (B, C, T, H, W), float.

        Returns:
            Tensor: shape (B, D).
        """
        return self.pool(self.encode(self.embed(x)))
