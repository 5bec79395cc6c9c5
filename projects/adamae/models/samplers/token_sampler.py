"""What every token sampler has in common."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from math import prod

import torch
from mmaction.utils import OptConfigType
from mmengine.model import BaseModule
from torch import Tensor

from ..tokens import TokenSample, check_mask, floor_product, split_ids


def add_gumbel_noise(log_probs: Tensor) -> Tensor:
    """Perturb log-probabilities, (B, N), which may be off by a constant per row.

    The largest are a draw without replacement (Gumbel top-k, arXiv:1903.06059).
    """
    return log_probs - torch.empty_like(log_probs).exponential_().log()


def check_temperature(temperature: float) -> None:
    """Raise ``ValueError`` for a temperature that is not larger than 0, or NaN."""
    if not temperature > 0:
        raise ValueError(f'temperature: expected more than 0, got {temperature}')


class TokenSampler(BaseModule, metaclass=ABCMeta):
    """Decide which tokens the encoder sees.

    A subclass scores tokens in :meth:`score`; those with the highest scores stay
    visible.

    Args:
        mask_ratio (float): share of masked tokens, in (0, 1).
        grid_size (tuple[int, int, int]): tokens along time, rows, columns.
        in_channels (int, optional): D, width of the tokens. Samplers that do not
            look at tokens have no use for it.
        init_cfg (dict, optional): initialization. Defaults to None.

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
        if not 0 < mask_ratio < 1:
            raise ValueError(
                f'mask_ratio: expected a number in (0, 1), got {mask_ratio}'
            )
        self.grid_size = tuple(grid_size)
        self.num_tokens = prod(grid_size)
        self.num_visible = self.count(mask_ratio)
        if not 1 <= self.num_visible < self.num_tokens:
            raise ValueError(
                f'mask_ratio={mask_ratio} leaves {self.num_visible} of '
                f'{self.num_tokens} tokens visible: expected 1 to '
                f'{self.num_tokens - 1}; change the ratio, or the clip and patch sizes'
            )

    def count(self, mask_ratio: float) -> int:
        """Count the tokens that a ratio leaves visible: ``int(N * (1 - ratio))``."""
        return floor_product(self.num_tokens, 1 - mask_ratio)

    @abstractmethod
    def score(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """Give every token a score and, where it is learned, a log-probability.

        Args:
            tokens (Tensor): shape (B, N, D), float.

        Returns:
            tuple[Tensor, Tensor | None]: float32 scores (B, N), drawn anew on every
            call, and log-probabilities (B, N) or None. The scores are perturbed
            log-probabilities, or numbers in an order drawn with the same probability.
        """

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> TokenSample:
        """Draw the visible tokens.

        Args:
            tokens (Tensor): shape (B, N, D), float.
            mask (Tensor, optional): bool, shape (B, N), True = masked: use this one
                instead of drawing. Every row masks the same number of tokens, which
                need not be that of ``mask_ratio``.

        Raises:
            ValueError: if a forced mask does not fit, see :func:`check_mask`.
        """
        perturbed: Tensor | None
        perturbed, log_probs = self.score(tokens)
        if mask is None:
            visible = self.num_visible
            top = perturbed.topk(visible, dim=1, sorted=False).indices
            mask = torch.ones_like(perturbed, dtype=torch.bool).scatter(1, top, False)
        else:
            visible = check_mask(mask, tokens.shape[:2])
            perturbed = None
        return TokenSample(mask, *split_ids(mask, visible), log_probs, perturbed)
