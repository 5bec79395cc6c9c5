"""The numbers of a healthy run, against other ways to compute them."""

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from scipy.stats import entropy as scipy_entropy
from scipy.stats import rankdata, spearmanr
from torch.testing import assert_close

from projects.adamae.analysis import health
from projects.adamae.models.tokens import TrainingStep, effective_tokens, entropy
from tests.helpers import tiny_model_cfg

GRID = 2, 3, 5  # 30 tokens


@pytest.fixture
def log_probs():
    return (3 * torch.randn(4, 30)).log_softmax(1)


def test_entropy_and_effective_tokens(log_probs):
    expected = scipy_entropy(log_probs.double().exp().numpy(), axis=1)
    assert_close(entropy(log_probs).numpy(), expected, check_dtype=False)
    # Ten equally likely tokens of 30 count as ten.
    ten = torch.full((30,), -1e4)
    ten[:10] = -np.log(10)
    assert effective_tokens(entropy(ten).item() / np.log(30), 30) == pytest.approx(10)


@pytest.mark.parametrize('tokens, count', [(30, 1), (100, 5), (1568, 78), (3, 1)])
def test_top_share(tokens, count):
    probs = np.random.default_rng(0).dirichlet(np.ones(tokens), 3)
    shares = health.top_share(torch.from_numpy(np.log(probs)))
    assert_close(shares.numpy(), np.sort(probs)[:, -count:].sum(1))


def test_profiles(log_probs):
    probs = log_probs.exp().numpy().reshape(4, *GRID)
    by_time = health.probability_by_time(log_probs, GRID)
    assert_close(by_time.numpy(), probs.sum((2, 3)) * 2)
    zones = np.array(health.distance_zones(GRID)).reshape(GRID[1:])
    # Distances 0; 1, 1, 1, 1; sqrt(2) x 4; 2, 2; sqrt(5) x 4.
    expected = [[2, 1, 0, 1, 2], [2, 0, 0, 0, 2], [2, 1, 0, 1, 2]]
    assert zones.tolist() == expected
    by_distance = health.probability_by_distance(log_probs, GRID)
    assert by_distance.keys() == {0, 1, 2}
    for zone, values in by_distance.items():
        mean = probs[:, :, zones == zone].mean((1, 2))
        assert_close(values.numpy(), mean * 30)
    equal = torch.full((1, 30), -np.log(30))
    curves = health.sampling_curves(
        TrainingStep(torch.rand(1, 7), torch.arange(7)[None], equal), GRID
    )
    ones = [v.item() for name, v in curves.items() if 'probability' in name]
    assert ones == pytest.approx([1] * 5)
    assert curves['error_correlation'] == 0, 'no order'


def test_zones_of_the_recipes_are_quarters():
    zones = health.distance_zones((8, 14, 14))
    counts = np.bincount(zones)
    assert counts.tolist() == [52, 60, 36, 48], 'ties stay together'
    assert health.distance_zones((1, 1, 1)) == [0]


def test_rank_correlation():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6, 40)).round(1)  # ties
    b = 0.5 * a + b
    assert_close(
        health.ranks(torch.from_numpy(a)).numpy() + 1, rankdata(a, axis=1).astype('f4')
    )
    found = health.rank_correlation(torch.from_numpy(a), torch.from_numpy(b))
    expected = [spearmanr(*rows).statistic for rows in zip(a, b, strict=True)]
    assert_close(found.double().numpy(), np.array(expected), rtol=0, atol=1e-5)
    rising = torch.arange(2000.0)[None]
    found = health.rank_correlation(rising, rising.square())
    assert found.item() == pytest.approx(1, abs=1e-5)


def test_rankme():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 8)) * np.arange(1, 9)
    values = np.sqrt(np.linalg.eigvalsh(features.T @ features))
    expected = np.exp(scipy_entropy(values / values.sum()))
    assert health.rankme(torch.from_numpy(features)) == pytest.approx(
        expected, rel=1e-4
    )
    one = torch.randn(40, 1) * torch.randn(16)  # collapsed
    assert health.rankme(one) == pytest.approx(1, abs=1e-4)
    orthogonal = torch.linalg.qr(torch.randn(32, 16)).Q
    assert health.rankme(orthogonal) == pytest.approx(16, rel=1e-4)
    assert np.isfinite(health.rankme(torch.zeros(4, 4)))
    assert np.isnan(health.rankme(torch.full((4, 4), float('inf'))))


def test_step_of_a_model_is_what_its_loss_saw():
    model = MODELS.build(tiny_model_cfg()).train()
    losses = model.loss(torch.randn(3, 3, 8, 16, 16))
    assert 'token_error' not in losses, 'numbers only: it would be logged'
    step = model.last_step
    assert_close(step.token_error.mean(), losses['loss_reconstruction'].detach())
    assert not step.token_error.requires_grad and not step.log_probs.requires_grad
    assert step.ids.shape == (3, 12)
    curves = health.sampling_curves(step, model.backbone.token_grid)
    assert_close(curves['entropy'].mean(), losses['sampler_entropy'])
    assert all(v.shape == (3,) for v in curves.values())
