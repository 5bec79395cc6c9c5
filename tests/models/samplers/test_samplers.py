from itertools import combinations, permutations
from math import nan

import pytest
import torch
from mmaction.registry import MODELS
from scipy.stats import chi2, chisquare
from torch.testing import assert_close

from projects.adamae import AdaptiveSamplerHead, RandomSamplerHead
from projects.adamae.models.samplers.adaptive_sampler import log_distribution

GRID = (4, 3, 2)
SAMPLERS = [
    dict(type='AdaptiveSamplerHead', num_heads=2),
    dict(type='AdaptiveSamplerHead', num_heads=2, depth=2, embed_dims=8),
    dict(type='AdaptiveSamplerHead', depth=0),
    dict(type='RandomSamplerHead'),
]


def build(cfg, mask_ratio=0.75):
    return MODELS.build(
        dict(mask_ratio=mask_ratio, grid_size=GRID, in_channels=16, **cfg)
    )


class FixedLogits(AdaptiveSamplerHead):
    """The adaptive draw with given logits in place of the network."""

    def __init__(self, logits, mask_ratio, dtype=torch.float32, **kwargs):
        super().__init__(
            mask_ratio,
            (1, 1, len(logits)),
            in_channels=1,
            depth=0,
            embed_dims=1,
            **kwargs,
        )
        for p in self.parameters():
            torch.nn.init.zeros_(p)
        self.pos_embed.data[0, :, 0] = torch.as_tensor(logits)
        self.proj.weight.data.fill_(1)
        self.head.weight.data.fill_(1)
        self.to(dtype)


@pytest.mark.parametrize('cfg', SAMPLERS)
@pytest.mark.parametrize('ratio', [0.5, 0.75, 0.9])
def test_a_draw_splits_the_tokens(cfg, ratio):
    sample = build(cfg, ratio)(torch.randn(5, 24, 16))
    visible = int(24 * (1 - ratio) + 1e-6)
    assert sample.visible_ids.shape == (5, visible)
    assert sample.masked_ids.shape == (5, 24 - visible)
    for mask, shown, hidden in zip(
        sample.mask, sample.visible_ids, sample.masked_ids, strict=True
    ):
        assert sorted([*shown.tolist(), *hidden.tolist()]) == list(range(24))
        assert shown.tolist() == sorted(shown.tolist())
        assert hidden.tolist() == mask.nonzero().flatten().tolist()
    if sample.log_probs is not None:
        assert sample.log_probs.dtype == torch.float32
        assert_close(sample.log_probs.exp().sum(1), torch.ones(5))


@pytest.mark.parametrize('cfg', SAMPLERS)
def test_forced_mask(cfg):
    mask = torch.zeros(2, 24, dtype=torch.bool)
    mask[0, :10] = mask[1, 14:] = True
    sample = build(cfg)(torch.randn(2, 24, 16), mask)
    assert torch.equal(sample.mask, mask)
    assert sample.masked_ids[1].tolist() == list(range(14, 24))
    mask[1, 0] = True
    with pytest.raises(ValueError, match='same number of visible tokens'):
        build(cfg)(torch.randn(2, 24, 16), mask)
    with pytest.raises(ValueError, match=r'expected bool of shape \(2, 24\)'):
        build(cfg)(torch.randn(2, 24, 16), mask[:, 1:])


def test_same_seed_same_draw_and_another_draw_after_it():
    sampler, tokens = build(SAMPLERS[0]).eval(), torch.randn(3, 24, 16)
    torch.manual_seed(3)
    first, second = sampler(tokens), sampler(tokens)
    torch.manual_seed(3)
    assert torch.equal(sampler(tokens).mask, first.mask)
    assert not torch.equal(second.mask, first.mask)


def test_draws_without_replacement_follow_the_probabilities():
    """Every set of 2 of 6: exact probability summed over both orders of drawing."""
    probs = torch.tensor([0.4, 0.25, 0.15, 0.1, 0.07, 0.03], dtype=torch.float64)
    draws = 200_000
    sampler = FixedLogits(probs.log().float(), mask_ratio=4 / 6)
    ids = sampler(torch.zeros(draws, 6, 1)).visible_ids
    observed, expected = [], []
    for pair in combinations(range(6), 2):
        observed.append((ids == torch.tensor(pair)).all(1).sum().item())
        expected.append(
            draws
            * sum(
                (probs[a] * probs[b] / (1 - probs[a])).item()
                for a, b in permutations(pair)
            )
        )
    assert sum(expected) == pytest.approx(draws)
    assert chisquare(observed, expected).pvalue > 1e-3


def test_keys_tell_the_order_of_the_draw():
    """Every ordered pair of 4 has its own probability."""
    probs = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    draws = 100_000
    sampler = FixedLogits(probs.log().float(), mask_ratio=0.5)
    sample = sampler(torch.zeros(draws, 4, 1))
    ordered = sample.keys.argsort(1, descending=True)[:, :2]
    assert torch.equal(ordered.sort(1).values, sample.visible_ids)
    assert not sample.keys.requires_grad
    pairs = list(permutations(range(4), 2))
    observed = [(ordered == torch.tensor(p)).all(1).sum().item() for p in pairs]
    expected = [draws * (probs[a] * probs[b] / (1 - probs[a])).item() for a, b in pairs]
    assert chisquare(observed, expected).pvalue > 1e-3
    mask = sample.mask[:2]
    assert sampler(torch.zeros(2, 4, 1), mask).keys is None


def test_temperature_and_uniform_share():
    """The formula in double, and draws that follow it."""
    logits = torch.tensor([3.0, 1.0, 0.5, -1.0, -4.0])
    sampler = FixedLogits(logits, 0.8, temperature=2.0, mix_uniform=0.3)
    draws = 50_000
    sample = sampler(torch.zeros(draws, 5, 1))
    expected = 0.7 * (logits.double() / 2).softmax(0) + 0.3 / 5
    assert_close(sample.log_probs[0].double(), expected.log(), rtol=1e-5, atol=1e-6)
    observed = sample.visible_ids.flatten().bincount(minlength=5).tolist()
    assert chisquare(observed, (draws * expected).tolist()).pvalue > 1e-3


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_a_uniform_share_is_a_floor_where_the_softmax_underflows(dtype):
    logits = torch.tensor([[3e4] + [0.0] * 15], dtype=dtype, requires_grad=True)
    log_probs = log_distribution(logits, temperature=0.5, mix_uniform=0.1)
    assert log_probs.dtype == torch.float32
    assert_close(log_probs.exp().sum(), torch.tensor(1.0))
    assert_close(log_probs[0, 1:].exp(), torch.full((15,), 0.1 / 16))
    log_probs.sum().backward()
    assert logits.grad.isfinite().all()


def test_without_options_the_distribution_is_the_softmax():
    logits = torch.randn(3, 24)
    assert torch.equal(log_distribution(logits), logits.log_softmax(1))


@pytest.mark.parametrize(
    'option, message',
    [
        (dict(temperature=0.0), 'temperature: expected more than 0, got 0.0'),
        (dict(temperature=nan), 'temperature: expected more than 0, got nan'),
        (dict(mix_uniform=1.0), r'mix_uniform: expected a share in \[0, 1\), got 1.0'),
    ],
)
def test_distributions_that_are_none(option, message):
    with pytest.raises(ValueError, match=message):
        build(dict(type='AdaptiveSamplerHead', num_heads=2, **option))


def test_random_sampler_is_uniform():
    sampler = RandomSamplerHead(mask_ratio=0.75, grid_size=GRID)
    draws = 20_000
    counts = (~sampler(torch.zeros(draws, 24, 1)).mask).sum(0).double()
    # A draw of 6 of 24 without replacement: the counts vary less than independent ones.
    expected, variance = draws * 6 / 24, draws * (6 / 24) * (18 / 24) * 24 / 23
    statistic = ((counts - expected) ** 2).sum().item() / variance
    assert chi2(23).sf(statistic) > 1e-3


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('sharp', [20.0, 100.0, 3e4])
def test_extreme_probabilities(dtype, sharp):
    """One near 1, the others underflow; V is larger than what has any mass."""
    sampler = FixedLogits([sharp] + [0.0] * 15, mask_ratio=0.5, dtype=dtype)
    sample = sampler(torch.zeros(500, 16, 1, dtype=dtype))
    assert all(len(set(row)) == 8 for row in sample.visible_ids.tolist())
    assert (sample.visible_ids[:, 0] == 0).float().mean() > 0.99
    assert sample.log_probs.isfinite().all()
    # Among the tokens without mass, none is preferred.
    counts = (~sample.mask).sum(0)[1:].double()
    assert counts.min() > 0.7 * counts.mean()


def test_log_probabilities_stay_float32_under_autocast():
    sampler = FixedLogits([30.0] + [0.0] * 15, mask_ratio=0.5)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        log_probs = sampler(torch.zeros(1, 16, 1)).log_probs
    assert log_probs.dtype == torch.float32
    assert log_probs[0, 1].item() == pytest.approx(-30, rel=1e-3)


def test_published_network():
    """One pre-norm block of 8 heads without qkv bias, dropout on its outputs only."""
    sampler = AdaptiveSamplerHead()
    assert sampler.num_visible == 78
    names = {name for name, _ in sampler.named_parameters()}
    assert not any('q_bias' in n or 'v_bias' in n for n in names)
    assert len(sampler.blocks) == 1 and sampler.blocks[0].attn.num_heads == 8
    assert sampler.blocks[0].norm1.eps == 1e-5
    dropouts = [m.p for m in sampler.modules() if isinstance(m, torch.nn.Dropout)]
    assert [p for p in dropouts if p] == [0.1]
    assert not sampler.pos_embed.any()


def test_width_that_does_not_fit_the_heads():
    with pytest.raises(ValueError, match='num_heads=5 does not divide embed_dims=16'):
        build(dict(type='AdaptiveSamplerHead', num_heads=5))


@pytest.mark.parametrize('with_cp', [False, True])
def test_joined_head_is_the_same_function(with_cp):
    """Logits and every gradient; two blocks, narrower than the tokens."""
    sampler = AdaptiveSamplerHead(
        0.5, (2, 2, 2), 16, embed_dims=8, depth=2, num_heads=2, drop_rate=0.0
    ).double()
    sampler.init_weights()
    for block in sampler.blocks:
        torch.nn.init.normal_(block.mlp.layers[1].bias)
        block.with_cp = with_cp
    x, weight = torch.randn(3, 8, 16).double(), torch.randn(3, 8).double()
    results = []
    for sampler.joins_head in (True, False):
        log_probs = sampler.score(x)[1]
        gradients = torch.autograd.grad(
            (log_probs * weight).sum(), sampler.parameters()
        )
        results.append([log_probs, *gradients])
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-7)


def test_dropout_keeps_the_head_apart():
    assert not AdaptiveSamplerHead(0.5, (2, 2, 2), 16).joins_head
    assert not AdaptiveSamplerHead(
        0.5, (2, 2, 2), 16, depth=0, drop_rate=0.0
    ).joins_head
