"""The encoder of SpatiotemporalMAE: class token, positions of space and time."""

from __future__ import annotations

from typing import Any

from mmaction.registry import MODELS
from mmaction.utils import OptConfigType
from torch import Tensor, nn

from ..separable import SeparablePositionsMixin, init_xavier
from ..tokens import gather_tokens
from .masked_vit import MaskedVisionTransformer


@MODELS.register_module()
class SeparableVisionTransformer(SeparablePositionsMixin, MaskedVisionTransformer):
    """Video ViT with a class token and learned, separable positions.

    As in "Masked Autoencoders As Spatiotemporal Learners" (arXiv:2205.09113, sec. 3).
    The class token takes part in attention and is not in what :meth:`encode` returns:
    the published classifier averages the patch tokens, too.

    The final norm is called ``norm`` in pre-training and in fine-tuning, before and
    after the mean, so that fine-tuning goes on from the pre-trained one as published.

    Args:
        use_mean_pooling (bool): normalize the mean of the tokens (fine-tuning) and not
            each token (pre-training). Defaults to True.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=...)``.
            Defaults to None, the published initialization.
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
                    'its positions are always learned, its features one vector per '
                    'clip'
                )
        super().__init__(use_mean_pooling=False, init_cfg=init_cfg, **kwargs)
        self.use_mean_pooling = use_mean_pooling
        self.add_tables(self.token_grid, self.embed_dims)
        init_xavier(self)
        nn.init.xavier_uniform_(self.patch_embed.projection.weight.data.flatten(1))

    def encode(self, tokens: Tensor, visible_ids: Tensor | None = None) -> Tensor:
        """Run the transformer on the class token and the visible tokens.

        See :meth:`MaskedVisionTransformer.encode`.
        """
        x = tokens + self.positions()
        if visible_ids is not None:
            x = gather_tokens(x, visible_ids)
        x = self.blocks(self.pos_drop(self.with_class_token(x)))[:, 1:]
        return x if self.use_mean_pooling else self.norm(x)

    def pool(self, tokens: Tensor) -> Tensor:
        """Average the patch tokens; see :meth:`MaskedVisionTransformer.pool`."""
        x = tokens.mean(1)
        return self.norm(x) if self.use_mean_pooling else x

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips (B, C, T, H, W) for a classifier: features (B, D)."""
        return self.pool(self.encode(self.embed(x)))
