"""k-nearest-neighbor classification: what a representation knows untrained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def knn_accuracy(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    ks: Sequence[int] = (20,),
    temperature: float = 0.07,
    chunk: int = 256,
) -> dict[int, tuple[float, float]]:
    """Classify vectors by their nearest neighbors in a bank.

    The k vectors of the bank with the largest cosine similarity s vote for their
    classes with weight exp(s / temperature) (arXiv:1805.01978, sec. 3.4; also the
    protocol of DINO, arXiv:2104.14294, with k = 20). A class without a vote is no
    answer, also where fewer than five have one.

    Args:
        bank (Tensor): vectors with known labels, shape (V, D), float.
        bank_labels (Tensor): int64, shape (V,), values from 0.
        queries (Tensor): vectors to classify, shape (Q, D), float.
        query_labels (Tensor): int64, shape (Q,), values from 0.
        ks (Sequence[int]): numbers of neighbors to try. Defaults to (20,).
        temperature (float): of the votes. Defaults to 0.07.
        chunk (int): queries compared at a time; bounds memory. Defaults to 256.

    Returns:
        dict[int, tuple[float, float]]: top-1 and top-5 accuracy, in [0, 1], by k.

    Raises:
        ValueError: if a k is not in 1 .. V, the temperature is not positive, or the
            labels are not one per vector.
    """
    for name, x, labels in (
        ('bank', bank, bank_labels),
        ('queries', queries, query_labels),
    ):
        if labels.shape != x.shape[:1] or not len(labels) or labels.min() < 0:
            raise ValueError(
                f'{name}: expected {len(x)} vectors with one label from 0 each, got '
                f'labels of shape {tuple(labels.shape)}'
                + (f' with {labels.min():d} among them' if labels.numel() else '')
            )
    check_settings(ks, temperature, len(bank))
    bank, queries = F.normalize(bank.float()), F.normalize(queries.float())
    classes = int(max(bank_labels.max(), query_labels.max())) + 1
    hits = {k: torch.zeros(2, dtype=torch.int64) for k in ks}
    for x, truth in zip(queries.split(chunk), query_labels.split(chunk), strict=True):
        similarity, ids = (x @ bank.T).topk(max(ks))
        votes, voted = (similarity / temperature).exp(), bank_labels[ids]
        for k in ks:
            scores = votes.new_zeros(len(x), classes)
            scores.scatter_add_(1, voted[:, :k], votes[:, :k])
            best, answers = scores.topk(min(5, classes))
            right = (answers == truth[:, None]) & (best > 0)
            hits[k] += torch.stack([right[:, 0].sum(), right.sum()]).cpu()
    top1, top5 = torch.stack([*hits.values()]).double().div(len(queries)).T.tolist()
    return {k: (a, b) for k, a, b in zip(ks, top1, top5, strict=True)}


class KnnSettingsError(ValueError):
    """A number of neighbors or a temperature that cannot be; says what can."""


def check_settings(ks: Sequence[int], temperature: float, size: int) -> None:
    """Check what can be known before anything is encoded.

    Args:
        ks (Sequence[int]): numbers of neighbors.
        temperature (float): of the votes.
        size (int): vectors in the bank.

    Raises:
        KnnSettingsError: if there are fewer than a ``k``, a ``k`` is not positive, or
            the temperature is not.
    """
    for k in ks:
        if not 1 <= k <= size:
            raise KnnSettingsError(
                f'k: expected a number of neighbors from 1 to {size}, the number of '
                f'training videos, got {k}'
            )
    if not temperature > 0:
        raise KnnSettingsError(
            f'temperature: expected a positive number, got {temperature}'
        )
