"""What every choice of tokens to predict has in common."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod

from mmengine.model import BaseModule
from torch import Tensor

from ..tokens import floor_product


class TokenSubset(BaseModule, metaclass=ABCMeta):
    """Choose K of the M masked tokens, and say how to average over them.

    The weighted sum of any values over the chosen tokens has the expectation, over the
    choice, of the plain mean of these values over all masked tokens: a token that is
    chosen ``n_i`` times on average has the weight ``1 / (M * n_i)`` (Horvitz and
    Thompson, 1952; Hansen and Hurwitz, 1943).

    Args:
        keep_ratio (float): share of the masked tokens to predict, in (0, 1]. Defaults
            to 0.5, as in VideoMAE V2.
        grid_size (tuple[int, int, int]): tokens along time, rows, columns, from the
            recognizer. Defaults to (8, 14, 14).

    Raises:
        ValueError: if the ratio is outside (0, 1].
    """

    def __init__(
        self,
        keep_ratio: float = 0.5,
        grid_size: tuple[int, int, int] = (8, 14, 14),
    ) -> None:
        super().__init__()
        if not 0 < keep_ratio <= 1:
            raise ValueError(
                f'keep_ratio: expected a number in (0, 1], got {keep_ratio}'
            )
        self.keep_ratio = keep_ratio
        self.grid_size = tuple(grid_size)

    def count(self, num_masked: int) -> int:
        """Count the tokens to predict, ``K = int(M * keep_ratio)`` but 1 at least."""
        return max(1, floor_product(num_masked, self.keep_ratio))

    @abstractmethod
    def forward(
        self, masked_ids: Tensor, log_probs: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Choose, anew on every call.

        Args:
            masked_ids (Tensor): int64, shape (B, M), ascending.
            log_probs (Tensor, optional): of the sampler, float32, shape (B, N).

        Returns:
            tuple[Tensor, Tensor]: ids of the tokens to predict, int64, (B, K), and
            weights, float32, (B, K), constants for the gradient.
        """
