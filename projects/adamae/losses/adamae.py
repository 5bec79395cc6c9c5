"""Reconstruction and sampling loss."""

from __future__ import annotations

from math import log, prod

from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from ..tokens import gather_tokens, normalise_patches


@MODELS.register_module()
class AdaMAELoss(BaseModule):
    """Mean error of the masked tokens, and the reward for choosing hard ones.

    ``L_R`` (AdaMAE, eq. 2) is the mean over masked tokens of the error of each;
    ``L_S = -mean(log P_i * L_R^i)`` over masked tokens (eq. 5 in the form of
    Algorithm 2), where the error is a constant: with REINFORCE in mind, probability
    moves to tokens that are hard to rebuild.

    Args:
        norm_pix (bool): normalise every target token per channel. Defaults to True.
        criterion (str): error of a value, ``'mse'`` or ``'l1'``. Defaults to
            ``'mse'``.
        sampling_weight (float): weight of ``L_S``. Defaults to 1e-4.
        token_shape (tuple[int, int, int, int]): frames, rows, columns and channels of
            a token, from the recognizer. Defaults to (2, 16, 16, 3).
        grid_size (tuple[int, int, int]): tokens along time, rows, columns, from the
            recognizer. Defaults to (8, 14, 14).

    Attributes:
        out_channels (int): values a token that the decoder has to predict.

    Raises:
        ValueError: if ``criterion`` is neither ``'mse'`` nor ``'l1'``.
    """

    def __init__(
        self,
        norm_pix: bool = True,
        criterion: str = 'mse',
        sampling_weight: float = 1e-4,
        token_shape: tuple[int, int, int, int] = (2, 16, 16, 3),
        grid_size: tuple[int, int, int] = (8, 14, 14),
    ) -> None:
        super().__init__()
        if criterion not in ('mse', 'l1'):
            raise ValueError(f"criterion: expected 'mse' or 'l1', got {criterion!r}")
        self.out_channels = prod(token_shape)
        self.grid_size = tuple(grid_size)
        self.norm_pix = norm_pix
        self.criterion = criterion
        self.sampling_weight = sampling_weight

    def target(self, patches: Tensor, ids: Tensor | None = None) -> Tensor:
        """Turn pixels into what the decoder has to predict.

        Args:
            patches (Tensor): pixels in [0, 1], shape (B, K, P // C, C), float32.
            ids (Tensor, optional): places of the tokens, int64, shape (B, K); not
                used here. Defaults to None, all tokens in order.

        Returns:
            Tensor: shape (B, K, P), float32.
        """
        if self.norm_pix:
            patches = normalise_patches(patches)
        return patches.flatten(2)

    def token_error(self, pred: Tensor, patches: Tensor, ids: Tensor) -> Tensor:
        """Compute the error of every predicted token.

        Args:
            pred (Tensor): predictions, shape (B, K, P), float.
            patches (Tensor): pixels in [0, 1], shape (B, K, P // C, C), float32.
            ids (Tensor): places of the tokens, int64, shape (B, K).

        Returns:
            Tensor: mean over the P values, shape (B, K), float32.
        """
        difference = pred.float() - self.target(patches, ids)
        error = difference.abs() if self.criterion == 'l1' else difference.square()
        return error.mean(dim=-1)

    def forward(
        self,
        pred: Tensor,
        patches: Tensor,
        masked_ids: Tensor,
        log_probs: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            pred (Tensor): predictions of the masked tokens, shape (B, M, P), float.
            patches (Tensor): their pixels in [0, 1], shape (B, M, P // C, C), float32.
            masked_ids (Tensor): their places, int64, shape (B, M).
            log_probs (Tensor, optional): shape (B, N), float32. None for a sampler
                that learns nothing.

        Returns:
            dict[str, Tensor]: scalars; ``loss_reconstruction`` and, for a learnt
            sampler, ``loss_sampling`` (weight applied) and ``sampler_entropy``, the
            entropy of P over that of the uniform distribution, in [0, 1].
        """
        error = self.token_error(pred, patches, masked_ids)
        losses = {'loss_reconstruction': error.mean()}
        if log_probs is not None:
            chosen = gather_tokens(log_probs, masked_ids)
            losses['loss_sampling'] = (
                -self.sampling_weight * (chosen * error.detach()).mean()
            )
            log_p = log_probs.detach()
            entropy = -(log_p.exp() * log_p).sum(dim=1).mean()
            losses['sampler_entropy'] = entropy / log(log_p.shape[1])
        return losses
