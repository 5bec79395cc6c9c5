"""Tests of MaskingMetric."""

import math

import numpy as np
import pytest
import torch
from mmaction.registry import METRICS
from mmaction.structures import ActionDataSample
from mmengine.evaluator import Evaluator

from projects.adamae.evaluation import MaskingMetric, object_tokens


def make_sample(masked, error, object_mask=None, probs=None):
    sample = ActionDataSample()
    sample.mask = torch.tensor(masked, dtype=torch.bool)
    sample.token_error = torch.tensor(error)
    if object_mask is not None:
        sample.object_mask = object_mask
    if probs is not None:
        sample.probs = torch.tensor(probs)
    return sample


def evaluate(samples, batch=2):
    evaluator = Evaluator(dict(type='MaskingMetric', patch_size=2, tubelet_size=2))
    for i in range(0, len(samples), batch):
        evaluator.process(samples[i : i + batch], None)
    return {k.split('/')[1]: v for k, v in evaluator.evaluate(len(samples)).items()}


def block(*pixels):
    """(T, H, W) = (2, 4, 4): four tokens of 2 x 2 x 2, in a row-major square."""
    mask = np.zeros((2, 4, 4), dtype=bool)
    for pixel in pixels:
        mask[pixel] = True
    return mask


def test_object_tokens_against_a_loop():
    rng = np.random.default_rng(0)
    mask = rng.random((4, 6, 8)) < 0.08
    expected = [
        mask[t : t + 2, y : y + 2, x : x + 2].any()
        for t in range(0, 4, 2)
        for y in range(0, 6, 2)
        for x in range(0, 8, 2)
    ]
    assert 0 < sum(expected) < 24
    for given in (mask, torch.from_numpy(mask)):
        assert object_tokens(given, 2, 2).tolist() == expected


@pytest.mark.parametrize('shape', [(3, 4, 4), (2, 5, 4), (2, 4, 3), (4, 4)])
def test_object_tokens_wants_whole_tokens(shape):
    with pytest.raises(ValueError, match=r'whole tokens of 2 x 2 x 2, got \('):
        object_tokens(np.zeros(shape, dtype=bool), 2, 2)


def test_counts_by_hand():
    # Object in tokens 0 and 1 of the first clip, in token 3 of the second.
    first = make_sample(
        [True, False, True, True],
        [4.0, 0.0, 1.0, 2.0],
        block((0, 1, 1), (1, 0, 2)),
        [0.5, 0.2, 0.2, 0.1],
    )
    second = make_sample(
        [True, False, True, True],
        [1.0, 0.0, 3.0, 7.0],
        block((1, 3, 3)),
        [0.1, 0.1, 0.1, 0.7],
    )
    for batch in (1, 2):
        metrics = evaluate([first, second], batch)
        assert metrics == pytest.approx(
            dict(
                reconstruction=18 / 6,
                error_object=(4 + 7) / 2,
                error_background=(1 + 2 + 1 + 3) / 4,
                enrichment=(1 / 2) / (3 / 8),
                prob_mass_object=((0.7 + 0.7) / 2) / (3 / 8),
            )
        )
    assert not any('loss' in key for key in metrics)


def test_random_sampling_has_enrichment_one():
    generator = torch.Generator().manual_seed(0)
    samples = []
    for _ in range(2000):
        masked = torch.rand(4, generator=generator).argsort() > 0
        mask = block((0, 0, int(torch.randint(4, (), generator=generator))))
        samples.append(make_sample(masked.tolist(), [1.0] * 4, mask, [0.25] * 4))
    metrics = evaluate(samples, batch=500)
    assert metrics['enrichment'] == pytest.approx(1, abs=0.16)  # 4 sigma
    assert metrics['prob_mass_object'] == pytest.approx(1)


def test_without_object_masks_or_probabilities():
    plain = make_sample([True, False], [0.5, 0.0])
    assert evaluate([plain]) == dict(reconstruction=0.5)
    unlearned = make_sample(
        [True, False, True, False], [1.0, 0, 1, 0], block((0, 0, 0))
    )
    assert 'prob_mass_object' not in evaluate([unlearned])
    with pytest.raises(ValueError, match='in all data samples or in none'):
        evaluate([plain, unlearned])


def test_no_object_at_all_is_nan():
    metrics = evaluate([make_sample([True, False, True, True], [1.0] * 4, block())])
    assert math.isnan(metrics['enrichment'])
    assert math.isnan(metrics['error_object'])
    assert metrics['error_background'] == 1


def test_other_token_size_than_the_model():
    metric = METRICS.build(dict(type='MaskingMetric', patch_size=4))
    assert isinstance(metric, MaskingMetric)
    sample = make_sample([True, False, True, True], [1.0] * 4, block((0, 0, 0)))
    with pytest.raises(ValueError, match='patch_size=4 and tubelet_size=2 those of'):
        metric.process(None, [sample.to_dict()])
