"""Nearest neighbors against a loop."""

import math
from collections import Counter

import pytest
import torch

from projects.adamae.evaluation.knn import knn_accuracy


def by_hand(bank, bank_labels, queries, labels, k, temperature):
    """Classify one by one, as one would explain it."""
    top1 = top5 = 0
    for x, label in zip(queries.tolist(), labels.tolist(), strict=True):
        similar = []
        for y, neighbor in zip(bank.tolist(), bank_labels.tolist(), strict=True):
            dot = sum(a * b for a, b in zip(x, y, strict=True))
            similar.append((dot / math.hypot(*x) / math.hypot(*y), neighbor))
        votes = Counter()
        for cosine, neighbor in sorted(similar, reverse=True)[:k]:
            votes[neighbor] += math.exp(cosine / temperature)
        ranking = [neighbor for neighbor, _ in votes.most_common(5)]
        top1 += ranking[0] == label
        top5 += label in ranking
    return top1 / len(queries), top5 / len(queries)


@pytest.mark.parametrize('temperature', [0.07, 1.0])
@pytest.mark.parametrize('chunk', [1, 7, 256])
def test_equals_a_loop(temperature, chunk):
    centers = torch.randn(9, 6)
    bank_labels, labels = torch.arange(60) % 9, torch.arange(40) % 9
    # Lengths differ: they must not matter.
    bank = (centers[bank_labels] + torch.randn(60, 6)) * torch.rand(60, 1)
    queries = (centers[labels] + torch.randn(40, 6)) * 100
    ks = [1, 3, 20, 60]
    got = knn_accuracy(bank, bank_labels, queries, labels, ks, temperature, chunk)
    assert list(got) == ks
    for k in ks:
        assert got[k] == by_hand(bank, bank_labels, queries, labels, k, temperature)
    assert len(set(got.values())) > 2 and 0.3 < got[3][0] < 1


def test_closer_neighbors_outvote_more_distant_ones():
    angles = torch.tensor([0.1, 1.0, 1.0])
    bank = torch.stack([angles.cos(), angles.sin()], dim=1)
    args = (bank, torch.tensor([0, 1, 1]), torch.tensor([[1.0, 0]]), torch.tensor([0]))
    assert knn_accuracy(*args, [3], temperature=0.07) == {3: (1, 1)}
    assert knn_accuracy(*args, [3], temperature=100.0) == {3: (0, 1)}


def test_a_class_without_a_vote_is_no_answer():
    same = torch.ones(4, 2)
    votes = knn_accuracy(same, torch.zeros(4).long(), same, torch.arange(4), [4])
    assert votes == {4: (0.25, 0.25)}
    # A class that only the queries have is a miss, not an error.
    votes = knn_accuracy(same, torch.zeros(4).long(), same, torch.full((4,), 7), [4])
    assert votes == {4: (0, 0)}


@pytest.mark.parametrize(
    'labels, ks, temperature, message',
    [
        (torch.zeros(4).long(), [5], 1, 'k: expected .* from 1 to 4, .* got 5'),
        (torch.zeros(4).long(), [0], 1, 'k: expected .* got 0'),
        (torch.tensor([0, 1, -1, 0]), [1], 1, 'bank: .* one label from 0 .* with -1'),
        (torch.zeros(4, 3).long(), [1], 1, r'bank: .* labels of shape \(4, 3\)'),
        *(
            (torch.zeros(4).long(), [1], value, 'temperature: expected a positive num')
            for value in (0, -1, math.nan)
        ),
    ],
)
def test_bad_input(labels, ks, temperature, message):
    x = torch.randn(4, 2)
    with pytest.raises(ValueError, match=message):
        knn_accuracy(x, labels, x, torch.zeros(4).long(), ks, temperature)
