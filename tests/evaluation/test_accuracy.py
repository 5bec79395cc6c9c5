"""MMAction2's accuracy on lists without some of the classes."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import METRICS


def mean1(answers, labels, classes=6):
    metric = METRICS.get('AccMetric')()
    scores = torch.eye(classes)[answers]
    samples = [
        dict(pred_score=score, gt_label=torch.tensor([label]))
        for score, label in zip(scores, labels, strict=True)
    ]
    metric.process(None, samples)
    return metric.evaluate(len(labels))['acc/mean1']


@pytest.mark.parametrize(
    ('answers', 'labels', 'expected'),
    [
        ([0, 3, 4, 5], [0, 1, 2, 2], 1 / 3),  # three classes; five were answered
        ([0, 1, 1, 1], [0, 0, 1, 1], 3 / 4),
        ([0, 5], [0, 0], 1 / 2),
        ([5, 5], [5, 5], 1),
    ],
)
def test_mean_over_the_classes_of_the_list(answers, labels, expected):
    assert mean1(answers, labels) == pytest.approx(expected)


def test_against_a_direct_computation():
    rng = np.random.default_rng(0)
    labels, answers = rng.integers(0, 9, 40) * 2, rng.integers(0, 20, 40)
    recalls = [np.mean(answers[labels == k] == k) for k in set(labels.tolist())]
    assert mean1(answers, labels, 20) == pytest.approx(np.mean(recalls))


def test_mmaction2_still_counts_other_classes():
    """Where this fails, ``compat.average_over_listed_classes`` can go."""
    package = importlib.util.find_spec('mmaction.evaluation.functional')
    path = Path(package.origin).with_name('accuracy.py')
    spec = importlib.util.spec_from_file_location('original_accuracy', path)
    original = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(original)
    scores = [*np.eye(6)[[0, 3, 4, 5]]]
    assert original.mean_class_accuracy(scores, [0, 1, 2, 2]) == pytest.approx(1 / 6)
