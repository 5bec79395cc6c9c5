"""Reconstruction and sampling loss."""

from __future__ import annotations

from math import log, prod

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from ..tokens import denormalise_patches, gather_tokens, normalise_patches
from .sampling_policy import POLICIES, subtract_baseline


def mean_over_masked(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """Average values over masked tokens and clips, or estimate that from some tokens.

    Args:
        values (Tensor): shape (B, K), float.
        weights (Tensor, optional): shape (B, K), float; their sum over K has the
            expectation 1. Defaults to None, equal weights.

    Returns:
        Tensor: scalar.
    """
    if weights is None:
        return values.mean()
    return (weights * values).sum(dim=1).mean()


# Float32 copies of predictions and targets are the peak of memory: one part of the
# batch at a time.
_PARTS = 4


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
        policy (str): what takes the place of ``log P_i`` in ``L_S``: ``'log'``,
            ``'linear'`` (P_i, eq. 5 as printed) or ``'plackett_luce'`` (the
            log-probability of the whole draw), see ``losses/policy.py``. Defaults to
            ``'log'``.
        baseline (str, optional): mean error to subtract from the error in ``L_S``:
            ``'clip'``, that of the clip's masked tokens, or ``'batch'``, that of the
            other clips of the process. Defaults to None.
        entropy_weight (float): weight of a bonus for the relative entropy of P.
            Defaults to 0.
        token_shape (tuple[int, int, int, int]): frames, rows, columns and channels of
            a token, from the recognizer. Defaults to (2, 16, 16, 3).
        grid_size (tuple[int, int, int]): tokens along time, rows, columns, from the
            recognizer. Defaults to (8, 14, 14).

    Attributes:
        out_channels (int): values a token that the decoder has to predict.
        frames (tuple[int, ...]): a frame of every time step that is predicted.

    Raises:
        ValueError: if ``criterion``, ``policy`` or ``baseline`` is none of the above,
            or ``baseline`` is ``'clip'`` with the policy ``'plackett_luce'``, which
            gives all tokens of a clip one score, so that nothing is left.
    """

    def __init__(
        self,
        norm_pix: bool = True,
        criterion: str = 'mse',
        sampling_weight: float = 1e-4,
        policy: str = 'log',
        baseline: str | None = None,
        entropy_weight: float = 0.0,
        token_shape: tuple[int, int, int, int] = (2, 16, 16, 3),
        grid_size: tuple[int, int, int] = (8, 14, 14),
    ) -> None:
        super().__init__()
        if criterion not in ('mse', 'l1'):
            raise ValueError(f"criterion: expected 'mse' or 'l1', got {criterion!r}")
        if policy not in POLICIES:
            raise ValueError(f'policy: expected one of {[*POLICIES]}, got {policy!r}')
        if baseline not in (None, 'clip', 'batch'):
            raise ValueError(
                f"baseline: expected None, 'clip' or 'batch', got {baseline!r}"
            )
        if policy == 'plackett_luce' and baseline == 'clip':
            raise ValueError(
                "baseline='clip' leaves nothing of policy='plackett_luce', which "
                "gives all tokens of a clip one score: use baseline='batch'"
            )
        self.out_channels = prod(token_shape)
        self.token_shape = tuple(token_shape)
        self.frames = tuple(range(0, grid_size[0] * token_shape[0], token_shape[0]))
        self.norm_pix = norm_pix
        self.criterion = criterion
        self.sampling_weight = sampling_weight
        self.policy = POLICIES[policy]
        self.baseline = baseline
        self.entropy_weight = entropy_weight

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

    def to_pixels(
        self, values: Tensor, patches: Tensor, ids: Tensor | None = None
    ) -> Tensor:
        """Turn predictions back into pixels: the inverse of :meth:`target`.

        Args:
            values (Tensor): predictions, shape (B, K, P), float.
            patches (Tensor): true pixels in [0, 1], shape (B, K, P // C, C), float;
                where targets are normalised, their mean and deviation are put back.
            ids (Tensor, optional): places of the tokens, int64, shape (B, K); not
                used here. Defaults to None, all tokens in order.

        Returns:
            Tensor: pixels, about in [0, 1], shape (B, K, P // C, C).
        """
        values = values.reshape(patches.shape)
        return denormalise_patches(values, patches) if self.norm_pix else values

    def token_error(self, pred: Tensor, patches: Tensor, ids: Tensor) -> Tensor:
        """Compute the error of every predicted token.

        Args:
            pred (Tensor): predictions, shape (B, K, P), float.
            patches (Tensor): pixels in [0, 1], shape (B, K, P // C, C), float32.
            ids (Tensor): places of the tokens, int64, shape (B, K).

        Returns:
            Tensor: mean over the P values, shape (B, K), float32.
        """
        error_of = F.l1_loss if self.criterion == 'l1' else F.mse_loss
        parts = [
            error_of(p.float(), self.target(*known), reduction='none').mean(dim=-1)
            for p, *known in zip(
                *(x.chunk(_PARTS) for x in (pred, patches, ids)), strict=True
            )
        ]
        return torch.cat(parts)

    def forward(
        self,
        pred: Tensor,
        patches: Tensor,
        ids: Tensor,
        log_probs: Tensor | None = None,
        keys: Tensor | None = None,
        masked_ids: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            pred (Tensor): predictions of masked tokens, shape (B, K, P), float.
            patches (Tensor): their pixels in [0, 1], shape (B, K, P // C, C), float32.
            ids (Tensor): their places, int64, shape (B, K).
            log_probs (Tensor, optional): shape (B, N), float32. None for a sampler
                that learns nothing.
            keys (Tensor, optional): of the draw, shape (B, N), float32. None for a
                forced mask.
            masked_ids (Tensor, optional): places of all masked tokens, int64, shape
                (B, M). Defaults to ``ids``: K = M.
            weights (Tensor, optional): shape (B, K), float32: the weighted sum over
                the predicted tokens estimates the mean over all masked ones. Defaults
                to None: the mean.

        Returns:
            dict[str, Tensor]: scalars; ``loss_reconstruction`` and, for a learnt
            sampler, ``loss_sampling`` (weight applied), ``sampler_entropy``, the
            entropy of P over that of the uniform distribution, in [0, 1], and where
            it has a weight ``loss_entropy`` (weight applied).

        Raises:
            ValueError: if the policy needs keys and there are none.
        """
        error = self.token_error(pred, patches, ids)
        losses = {'loss_reconstruction': mean_over_masked(error, weights)}
        if log_probs is None:
            return losses
        masked_ids = ids if masked_ids is None else masked_ids
        scores = self.policy(log_probs, masked_ids, keys)
        if self.baseline is not None:
            scores = subtract_baseline(scores, masked_ids, self.baseline)
        rewarded = gather_tokens(scores, ids) * error.detach()
        losses['loss_sampling'] = -self.sampling_weight * mean_over_masked(
            rewarded, weights
        )
        log_p = log_probs if self.entropy_weight else log_probs.detach()
        entropy = -(log_p.exp() * log_p).sum(dim=1).mean() / log(log_p.shape[1])
        losses['sampler_entropy'] = entropy.detach()
        if self.entropy_weight:
            losses['loss_entropy'] = -self.entropy_weight * entropy
        return losses
