"""Reconstruction and sampling loss."""

from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor

from ..tokens import TokenSample, entropy, gather_tokens
from .reconstruction_target import TokenTarget
from .sampling_policy import POLICIES, subtract_baseline

# Float32 copies of predictions and targets are the peak of memory: one part of the
# batch at a time.
_PARTS = 4


def mean_over_masked(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """Average values (B, K) over masked tokens and clips, or estimate that from some.

    Weights (B, K) have a sum over K whose expectation is 1; None: equal weights.
    """
    if weights is None:
        return values.mean()
    return (weights * values).sum(dim=1).mean()


@MODELS.register_module()
class AdaMAELoss(BaseModule):
    """Mean error of the masked tokens, and the reward for choosing hard ones.

    ``L_R`` (AdaMAE, eq. 2) is the mean over masked tokens of the error of each;
    ``L_S = -mean(log P_i * L_R^i)`` over masked tokens (eq. 5 in the form of
    Algorithm 2), where the error is a constant: with REINFORCE in mind, probability
    moves to tokens that are hard to rebuild.

    Args:
        norm_pix (bool): normalize every target token per channel. Defaults to True.
        criterion (str): error of a value, ``'mse'`` or ``'l1'``. Defaults to
            ``'mse'``.
        sampling_weight (float): weight of ``L_S``. Defaults to 1e-4.
        policy (str): what takes the place of ``log P_i`` in ``L_S``: ``'log'``, or,
            experimental, ``'linear'`` (P_i, eq. 5 as printed) or ``'plackett_luce'``
            (the log-probability of the whole draw), see ``sampling_policy.py``.
            Defaults to ``'log'``.
        baseline (str, optional): experimental: mean error to subtract from the error in
            ``L_S``: ``'clip'``, that of the clip's masked tokens, or ``'batch'``, that
            of the other clips of the process. Defaults to None.
        entropy_weight (float): weight of a bonus for the relative entropy of P.
            Defaults to 0.
        token_shape (tuple[int, int, int, int]): frames, rows, columns and channels of
            a token, from the recognizer. Defaults to (2, 16, 16, 3).
        grid_size (tuple[int, int, int]): tokens along time, rows, columns, from the
            recognizer. Defaults to (8, 14, 14).

    Attributes:
        target (TokenTarget): what the decoder has to predict.

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
        self.target = TokenTarget(norm_pix, token_shape, grid_size)
        self.value_error = F.l1_loss if criterion == 'l1' else F.mse_loss
        self.sampling_weight = sampling_weight
        self.policy = POLICIES[policy]
        self.baseline = baseline
        self.entropy_weight = entropy_weight

    def token_error(self, pred: Tensor, patches: Tensor, ids: Tensor) -> Tensor:
        """Compute the error of every predicted token.

        Args:
            pred (Tensor): predictions, shape (B, K, P), float.
            patches (Tensor): pixels in [0, 1], shape (B, K, P // C, C), float32.
            ids (Tensor): positions of the tokens, int64, shape (B, K).

        Returns:
            Tensor: mean over the P values, shape (B, K), dtype of the patches.
        """
        parts = zip(*(x.chunk(_PARTS) for x in (pred, patches, ids)), strict=True)
        errors = [
            self.value_error(p.to(y.dtype), y, reduction='none').mean(-1)
            for p, y in ((p, self.target(*known)) for p, *known in parts)
        ]
        return torch.cat(errors)

    def forward(
        self,
        pred: Tensor,
        patches: Tensor,
        sample: TokenSample,
        ids: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            pred (Tensor): predictions of masked tokens, shape (B, K, P), float.
            patches (Tensor): their pixels in [0, 1], shape (B, K, P // C, C), float32.
            sample (TokenSample): the draw.
            ids (Tensor, optional): the tokens that are predicted, int64, shape (B, K).
                Defaults to None, all masked ones.
            weights (Tensor, optional): shape (B, K), float32: the weighted sum over
                the predicted tokens estimates the mean over all masked ones. Defaults
                to None: the mean.

        Returns:
            dict[str, Tensor]: ``token_error``, float32, shape (B, K), without gradient;
            scalars: ``loss_reconstruction`` and, for a learned sampler,
            ``loss_sampling`` (weight applied), ``sampler_entropy``, the entropy of P
            over that of the uniform distribution, in [0, 1], and where it has a weight
            ``loss_entropy`` (weight applied).

        Raises:
            ValueError: if the policy needs the order of a draw and the mask was forced.
        """
        ids = sample.masked_ids if ids is None else ids
        error = self.token_error(pred, patches, ids)
        losses = {
            'token_error': error.detach(),
            'loss_reconstruction': mean_over_masked(error, weights),
        }
        log_probs = sample.log_probs
        if log_probs is None:
            return losses
        scores = self.policy(log_probs, sample)
        if self.baseline is not None:
            scores = subtract_baseline(scores, sample.masked_ids, self.baseline)
        rewards = gather_tokens(scores, ids) * error.detach()
        losses['loss_sampling'] = -self.sampling_weight * mean_over_masked(
            rewards, weights
        )
        log_p = log_probs if self.entropy_weight else log_probs.detach()
        relative = entropy(log_p).mean() / log(log_p.shape[1])
        losses['sampler_entropy'] = relative.detach()
        if self.entropy_weight:
            losses['loss_entropy'] = -self.entropy_weight * relative
        return losses
