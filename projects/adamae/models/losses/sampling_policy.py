"""Policy terms: by what the sampling loss multiplies the error of a token.

Each takes log-probabilities, shape (B, N), float32, and the draw, and gives scores
``s`` of the same shape for ``L_S = -mean(s_i * L_R^i)`` over masked tokens, where the
error ``L_R^i`` is a constant. All are linear in the errors, so that a weighted sum over
some masked tokens estimates the loss and its gradient without bias.

All but ``log_probability`` is experimental: no run has used it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..tokens import TokenSample, gather_tokens


def log_probability(log_probs: Tensor, sample: TokenSample) -> Tensor:
    """Score by ``log P_i`` (AdaMAE, Algorithm 2)."""
    return log_probs


def probability(log_probs: Tensor, sample: TokenSample) -> Tensor:
    """Score by ``P_i``, the linear form (AdaMAE, eq. 5 as printed)."""
    return log_probs.exp()


def plackett_luce(log_probs: Tensor, sample: TokenSample) -> Tensor:
    """Score all tokens of a clip by the log-probability of the whole draw.

    Drawing without replacement, in the order ``i_1 .. i_V``, has the log-probability
    ``sum_k [log P_(i_k) - log(1 - sum_(j<k) P_(i_j))]`` (Plackett-Luce;
    arXiv:1903.06059, sec. 2.3). The mass that remains is summed over what remains,
    never subtracted from 1: P near 1 leaves no rounding error.

    Raises:
        ValueError: if the mask was forced, and not drawn.
    """
    perturbed = sample.perturbed_log_probs
    if perturbed is None:
        raise ValueError(
            "policy='plackett_luce': expected the order of a draw, got none; a forced "
            "mask was not drawn in any order, use policy='log' with it"
        )
    order = perturbed.scatter(1, sample.masked_ids, -torch.inf).argsort(
        1, descending=True
    )
    ranked = log_probs.gather(1, order)
    remaining = ranked.flip(1).logcumsumexp(dim=1).flip(1)
    num_visible = sample.visible_ids.shape[1]
    log_draw = (ranked - remaining)[:, :num_visible].sum(dim=1, keepdim=True)
    return log_draw.expand_as(log_probs)


POLICIES = {
    'log': log_probability,
    'linear': probability,
    'plackett_luce': plackett_luce,
}


def subtract_baseline(scores: Tensor, masked_ids: Tensor, baseline: str) -> Tensor:
    """Reward a token with its error minus a mean error.

    The mean is subtracted from the scores and not from the errors, which gives the
    same sum, ``sum_i s_i (L_i - mean(L)) = sum_i (s_i - mean(s)) L_i``, without
    knowing every error.

    Args:
        scores (Tensor): shape (B, N), float32.
        masked_ids (Tensor): int64, shape (B, M).
        baseline (str): ``'clip'``, mean over the masked tokens of the clip, or
            ``'batch'``, over those of the other clips, 0 if there is no other.

    Returns:
        Tensor: shape (B, N), float32.
    """
    means = gather_tokens(scores, masked_ids).mean(dim=1, keepdim=True)
    if baseline == 'batch':
        means = (means.sum(dim=0) - means) / max(len(means) - 1, 1)
    return scores - means
