"""What encoder and decoder of SpatiotemporalMAE share (arXiv:2205.09113, sec. 3)."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from .transformer import FusedAttention


class SeparablePositionsMixin(BaseModule):
    """A class token, and learned positions that are the sum of space and time.

    The position of a token is the sum of one of its position in the frame and one of
    its time step; the class token has its own.
    """

    def add_tables(self, grid_size: tuple[int, int, int], embed_dims: int) -> None:
        """Replace ``pos_embed`` by the class token and three tables."""
        del self.pos_embed
        steps, rows, columns = grid_size
        for name, length in (
            ('cls_token', 1),
            ('pos_embed_class', 1),
            ('pos_embed_spatial', rows * columns),
            ('pos_embed_temporal', steps),
        ):
            setattr(self, name, nn.Parameter(torch.empty(1, length, embed_dims)))
            # What is registered may be another one, see utils.meta.
            nn.init.trunc_normal_(getattr(self, name), std=0.02)

    def positions(self) -> Tensor:
        """Add up the tables of space and time, (1, N, D), in token order."""
        temporal = self.pos_embed_temporal.unsqueeze(2)
        return (temporal + self.pos_embed_spatial.unsqueeze(1)).flatten(1, 2)

    def with_class_token(self, *tokens: Tensor) -> Tensor:
        """Make one sequence: the class token, then all others, (B, K, D) each."""
        # A number of torch, so that models can be traced for any batch: len is fixed.
        first = (self.cls_token + self.pos_embed_class).expand(
            tokens[0].shape[0], -1, -1
        )
        return torch.cat([first, *tokens], dim=1)


def init_xavier(module: nn.Module) -> None:
    """Draw all linear layers of a transformer as Xavier uniform, biases 0.

    Queries, keys and values are drawn as three layers, as in the released code, which
    makes them larger than one layer with three times the outputs.
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
