"""What every token sampler has in common."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from math import prod
from typing import NamedTuple

import torch
from mmaction.utils import OptConfigType
from mmengine.model import BaseModule
from torch import Tensor

from ..tokens import count_visible, num_visible, split_ids


class TokenSample(NamedTuple):
    """The outcome of a draw.

    Attributes:
        mask (Tensor): bool, shape (B, N), True = masked.
        visible_ids (Tensor): int64, shape (B, V), ascending.
        masked_ids (Tensor): int64, shape (B, M), ascending.
        log_probs (Tensor, optional): float32, shape (B, N), log of the categorical
            distribution the tokens were drawn from; None if nothing is learnt.
        keys (Tensor, optional): float32, shape (B, N), what decided the draw: visible
            tokens have the largest, and the largest of all was drawn first. None if
            the mask was forced.
    """

    mask: Tensor
    visible_ids: Tensor
    masked_ids: Tensor
    log_probs: Tensor | None = None
    keys: Tensor | None = None


class TokenSampler(BaseModule, metaclass=ABCMeta):
    """Decide which tokens the encoder sees.

    A subclass scores tokens in :meth:`score`; the tokens with the highest keys stay
    visible.

    Args:
        mask_ratio (float): share of masked tokens, in (0, 1).
        grid_size (tuple[int, int, int]): tokens along time, rows, columns.
        in_channels (int, optional): D, width of the tokens. Samplers that do not
            look at tokens have no use for it.
        init_cfg (dict, optional): initialisation. Defaults to None.

    Raises:
        ValueError: if the ratio is outside (0, 1), or leaves no visible or no masked
            token.
    """

    def __init__(
        self,
        mask_ratio: float,
        grid_size: tuple[int, int, int],
        in_channels: int | None = None,
        init_cfg: OptConfigType = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.grid_size = tuple(grid_size)
        self.num_tokens = prod(grid_size)
        self.num_visible = self.count(mask_ratio)

    def count(self, mask_ratio: float) -> int:
        """Count the tokens that a mask ratio leaves visible.

        Args:
            mask_ratio (float): share of masked tokens.

        Returns:
            int: V.
        """
        return num_visible(self.num_tokens, mask_ratio)

    @abstractmethod
    def score(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """Give every token a key and, where it is learnt, a log-probability.

        Args:
            tokens (Tensor): shape (B, N, D), float.

        Returns:
            tuple[Tensor, Tensor | None]: float32 keys (B, N), drawn anew on every
            call, and log-probabilities (B, N) or None.
        """

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> TokenSample:
        """Draw the visible tokens.

        Args:
            tokens (Tensor): shape (B, N, D), float.
            mask (Tensor, optional): bool, shape (B, N), True = masked: use this one
                instead of drawing. Every row masks the same number of tokens, which
                need not be that of ``mask_ratio``.

        Returns:
            TokenSample: mask, ids, log-probabilities and keys.

        Raises:
            ValueError: if a forced mask has another shape, or rows that differ in
                their number of masked tokens, or leaves no visible or masked token.
        """
        keys: Tensor | None
        keys, log_probs = self.score(tokens)
        if mask is None:
            visible = self.num_visible
            top = keys.topk(visible, dim=1, sorted=False).indices
            mask = torch.ones_like(keys, dtype=torch.bool).scatter(1, top, False)
        else:
            visible = count_visible(mask, (tokens.shape[0], tokens.shape[1]))
            keys = None
        return TokenSample(mask, *split_ids(mask, visible), log_probs, keys)
