"""MMAction2's pre-norm transformer block with fused attention inside."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmaction.models.backbones.vit_mae import Attention, Block
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..utils import cpu

# Up to this many tokens the fused kernel saves a quarter of a block's memory at most,
# and where oneDNN multiplies it takes up to ten times as long: its products are small.
_SHORT = 256


class FusedAttention(Attention):
    """Multi-head self-attention that holds no large N x N matrix.

    Parameters, state-dict keys and result (up to rounding) are those of MMAction2's
    ``Attention``; the product goes through ``scaled_dot_product_attention``.

    Attributes:
        min_fused_tokens (int): shorter sequences are attended to as in MMAction2, see
            :func:`set_attention_kernel`. At first it follows
            :mod:`projects.adamae.utils.cpu`.
    """

    min_fused_tokens: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        set_attention_kernel(self, onednn=cpu.uses_onednn())

    def forward(self, x: Tensor) -> Tensor:
        """Attend; input and output (B, N, D), float."""
        b, n, d = x.shape
        if n < self.min_fused_tokens:
            return super().forward(x)
        bias = None
        if hasattr(self, 'q_bias'):
            # Queries and values have a bias, keys have none.
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = F.linear(x, self.qkv.weight, bias)
        qkv = qkv.reshape(b, n, 3, self.num_heads, d // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(
            q,
            k,
            v,
            dropout_p=self.attn_drop.p if self.training else 0.0,
            scale=self.scale,
        )
        return self.proj_drop(self.proj(x.transpose(1, 2).reshape(b, n, d)))


def set_attention_kernel(model: nn.Module, onednn: bool) -> None:
    """Choose the faster kernel for every :class:`FusedAttention` of a model.

    Args:
        model (nn.Module): changed in place.
        onednn (bool): whether oneDNN multiplies: short sequences are not fused then.
    """
    for module in model.modules():
        if isinstance(module, FusedAttention):
            module.min_fused_tokens = _SHORT + 1 if onednn else 0


class TransformerBlock(Block):
    """MMAction2's ViT block, same arguments and keys, with :class:`FusedAttention`.

    Args:
        embed_dims (int): D, width of the tokens.
        num_heads (int): attention heads.
        with_cp (bool): recompute activations in the backward pass (activation
            checkpointing): less memory, about a third more arithmetic. Defaults to
            False.
        **kwargs: as in MMAction2's ``Block``.

    Raises:
        ValueError: if ``num_heads`` does not divide ``embed_dims``.
    """

    def __init__(
        self, embed_dims: int, num_heads: int, with_cp: bool = False, **kwargs: Any
    ) -> None:
        if embed_dims % num_heads:
            raise ValueError(
                f'num_heads={num_heads} does not divide embed_dims={embed_dims}: '
                'every attention head needs the same whole number of channels'
            )
        super().__init__(embed_dims, num_heads, **kwargs)
        stock: Attention = self.attn
        self.attn: Attention = FusedAttention(
            embed_dims,
            num_heads,
            qkv_bias=hasattr(stock, 'q_bias'),
            qk_scale=kwargs.get('qk_scale'),
            attn_drop_rate=stock.attn_drop.p,
            drop_rate=stock.proj_drop.p,
        )
        self.with_cp = with_cp

    @property
    def can_fuse_head(self) -> bool:
        """Whether :meth:`forward` takes a head.

        Layer scale, stochastic depth and dropout would stand between the two layers.
        """
        last = self.drop_path, self.mlp.layers[-1]  # DropPath, Dropout or Identity
        rates = [getattr(x, 'p', getattr(x, 'drop_prob', 0)) for x in last]
        return not hasattr(self, 'gamma_1') and not any(rates)

    def forward(self, x: Tensor, head: nn.Linear | None = None) -> Tensor:
        """Run the block.

        Args:
            x (Tensor): shape (B, N, D), float.
            head (nn.Linear, optional): a layer from D to K that is to follow, with K
                much smaller than D. Defaults to None.

        Returns:
            Tensor: shape (B, N, D), or what the head makes of it, (B, N, K).

        Raises:
            ValueError: if there is a head, and :attr:`can_fuse_head` is False.
        """
        run = (
            super().forward if head is None else partial(self._forward_with_head, head)
        )
        if self.with_cp and self.training:
            return checkpoint(run, x, use_reentrant=False)
        return run(x)

    def _forward_with_head(self, head: nn.Linear, x: Tensor) -> Tensor:
        """Compute ``head(block(x))`` without the block's output.

        The MLP ends in a linear layer, and the head is one: their product has K
        outputs, where the layer has D.
        """
        if not self.can_fuse_head:
            raise ValueError(
                'head: expected a block without layer scale, stochastic depth and '
                'dropout; apply the head to the output of this block instead'
            )
        x = x + self.attn(self.norm1(x))
        first, second = self.mlp.layers[:2]
        weight = head.weight @ second.weight
        bias = head(second.bias)
        return F.linear(x, head.weight) + F.linear(first(self.norm2(x)), weight, bias)
