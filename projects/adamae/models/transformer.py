"""MMAction2's pre-norm transformer block with fused attention inside."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmaction.models.backbones.vit_mae import Attention, Block
from mmengine.model import ModuleList
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..utils import cpu

# Up to this many tokens the fused kernel saves a quarter of a block's memory at most,
# and where oneDNN multiplies it takes up to ten times as long: its products are small.
_SHORT = 256


class FusedAttention(Attention):
    """Multi-head self-attention that holds no large N x N matrix.

    Parameters, state-dict keys and result (up to rounding) are those of MMAction2's
    ``Attention``; the product goes through ``scaled_dot_product_attention``, short
    sequences excepted where :mod:`projects.adamae.utils.cpu` has put oneDNN to use.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Attend.

        Args:
            x (Tensor): shape (B, N, D), float.

        Returns:
            Tensor: shape (B, N, D).
        """
        b, n, d = x.shape
        if n <= _SHORT and cpu.uses_onednn():
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


class TransformerBlock(Block):
    """MMAction2's ViT block, same arguments and keys, with :class:`FusedAttention`.

    Attributes:
        with_cp (bool): recompute activations in the backward pass (activation
            checkpointing). It is here, and not in what runs the blocks, so that
            whatever runs them has it. False at first.

    Raises:
        ValueError: if ``num_heads`` does not divide ``embed_dims``.
    """

    def __init__(self, embed_dims: int, num_heads: int, **kwargs: Any) -> None:
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
        self.with_cp = False

    def forward(self, x: Tensor, head: nn.Linear | None = None) -> Tensor:
        """Run the block.

        Args:
            x (Tensor): shape (B, N, D), float.
            head (nn.Linear, optional): a layer from D to K that is to follow, with K
                much smaller than D; for blocks without dropout, stochastic depth and
                layer scale. Defaults to None.

        Returns:
            Tensor: shape (B, N, D), or what the head makes of it, (B, N, K).
        """
        run = super().forward if head is None else partial(self._joined, head)
        if self.with_cp and self.training:
            return checkpoint(run, x, use_reentrant=False)
        return run(x)

    def _joined(self, head: nn.Linear, x: Tensor) -> Tensor:
        """Compute ``head(block(x))`` without the block's output.

        The MLP ends in a linear layer, and the head is one: their product has K
        outputs, where the layer has D.
        """
        x = x + self.attn(self.norm1(x))
        first, second = self.mlp.layers[:2]
        weight = head.weight @ second.weight
        bias = head(second.bias)
        return F.linear(x, head.weight) + F.linear(first(self.norm2(x)), weight, bias)


class BlockStack(ModuleList):
    """Transformer blocks applied one after the other.

    Args:
        blocks (Sequence[TransformerBlock]): blocks of the same width.
        with_cp (bool): recompute activations in the backward pass (activation
            checkpointing): less memory, about a third more arithmetic.
    """

    def __init__(
        self, blocks: Sequence[TransformerBlock], with_cp: bool = False
    ) -> None:
        super().__init__(blocks)
        for block in self:
            block.with_cp = with_cp

    def forward(self, x: Tensor) -> Tensor:
        """Apply all blocks.

        Args:
            x (Tensor): shape (B, N, D), float.

        Returns:
            Tensor: shape (B, N, D).
        """
        for block in self:
            x = block(x)
        return x


def init_xavier(module: nn.Module) -> None:
    """Draw all linear layers of a transformer as Xavier uniform, biases 0.

    Queries, keys and values are drawn as three layers (arXiv:2205.09113 has them so),
    which makes them larger than one layer with three times the outputs.

    Args:
        module (nn.Module): holds any number of :class:`FusedAttention` and linear
            layers; changed in place.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for layer in module.modules():
        if isinstance(layer, FusedAttention):
            for part in layer.qkv.weight.data.chunk(3):
                nn.init.xavier_uniform_(part)
