"""All samplers: numbers of visible tokens, the draws, and what they never do."""

import re
from fractions import Fraction
from itertools import permutations
from math import nan, prod

import pytest
import torch
from mmaction.registry import MODELS
from scipy.stats import chi2, chisquare
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from projects.adamae import AdaptiveSamplerHead
from projects.adamae.models.samplers.adaptive_sampler import log_distribution
from tests.helpers import tiny_model_cfg

GRIDS = [(8, 14, 14), (8, 7, 7), (16, 20, 20), (4, 6, 10), (2, 3, 5)]
GRID = (4, 3, 5)
HALVES = [torch.float32, torch.float16, torch.bfloat16]
SAMPLERS = {
    name: dict(type=f'{name}SamplerHead')
    for name in ('Random', 'Tube', 'Frame', 'FrameDifference')
}
SAMPLERS['Adaptive'] = dict(type='AdaptiveSamplerHead', num_heads=2)
SAMPLERS['deep'] = dict(SAMPLERS['Adaptive'], depth=2, embed_dims=8)
SAMPLERS['mlp'] = dict(type='AdaptiveSamplerHead', depth=0)


def build(name, mask_ratio=0.75, grid_size=GRID, **options):
    sizes = dict(mask_ratio=mask_ratio, grid_size=grid_size, in_channels=4)
    return MODELS.build(sizes | SAMPLERS[name] | options)


def tokens_for(sampler, batch=3):
    return torch.randn(batch, sampler.num_tokens, 4)


class FixedLogits(AdaptiveSamplerHead):
    """The adaptive draw with given logits in place of the network."""

    def __init__(self, logits, mask_ratio, dtype=torch.float32, **kwargs):
        sizes = dict(in_channels=1, depth=0, embed_dims=1)
        super().__init__(mask_ratio, (1, 1, len(logits)), **sizes, **kwargs)
        for p in self.parameters():
            torch.nn.init.zeros_(p)
        self.pos_embed.data[0, :, 0] = torch.as_tensor(logits)
        self.proj.weight.data.fill_(1)
        self.head.weight.data.fill_(1)
        self.to(dtype)


@pytest.mark.parametrize('grid', GRIDS)
@pytest.mark.parametrize(
    'name, ratio',
    [('Tube', r) for r in ('0.75', '0.9')]
    + [('Frame', r) for r in ('0.5', '0.75', '0.875')]
    + [
        (name, r)
        for name in ('Random', 'FrameDifference', 'Adaptive')
        for r in ('0.98', '0.95', '0.9', '0.85', '0.8', '0.75')
    ],
)
def test_number_of_visible_tokens(name, ratio, grid):
    """The rule in exact fractions, at every ratio of the papers' tables."""
    steps, *frame = grid
    share = 1 - Fraction(ratio)
    expected = {
        'Tube': steps * (prod(frame) - int((1 - share) * prod(frame))),
        'Frame': int(steps * share) * prod(frame),
    }.get(name, int(prod(grid) * share))
    if not expected:
        with pytest.raises(ValueError, match=f'mask_ratio={ratio} leaves 0 of'):
            build(name, float(ratio), grid)
        return
    sampler = build(name, float(ratio), grid)
    sample = sampler(tokens_for(sampler, 2))
    assert (~sample.mask).sum(1).tolist() == [expected] * 2
    assert sample.visible_ids.shape == (2, expected)
    assert sample.masked_ids.shape == (2, prod(grid) - expected)


PUBLISHED = {
    'Tube': {0.75: 392, 0.9: 160},
    'Random': {0.75: 392, 0.9: 156},
    'Frame': {0.875: 196},
    'FrameDifference': {0.95: 78},
    # AdaMAE, Table 1.
    'Adaptive': {0.98: 31, 0.95: 78, 0.9: 156, 0.85: 235, 0.8: 313},
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_numbers(name):
    for ratio, visible in PUBLISHED[name].items():
        assert build(name, ratio, (8, 14, 14)).num_visible == visible


@pytest.mark.parametrize('name', SAMPLERS)
@pytest.mark.parametrize('ratio', [-0.5, 0, 1, 1.5])
def test_ratio_that_is_none(name, ratio):
    message = f'mask_ratio: expected a number in (0, 1), got {ratio}'
    with pytest.raises(ValueError, match=re.escape(message) + '$'):
        build(name, ratio)


@pytest.mark.parametrize(
    'name, ratio, left',
    [('Random', 0.99, 0), ('Random', 1e-9, 60), ('Tube', 0.01, 60), ('Frame', 0.95, 0)],
)
def test_ratio_that_leaves_nothing(name, ratio, left):
    message = f'mask_ratio={ratio} leaves {left} of 60 tokens visible: expected 1 to 59'
    with pytest.raises(ValueError, match=message):
        build(name, ratio)


@pytest.mark.parametrize('name', SAMPLERS)
@pytest.mark.parametrize('ratio', [0.5, 0.75])
def test_a_draw_splits_the_tokens(name, ratio):
    sampler = build(name, ratio)
    sample = sampler(tokens_for(sampler))
    assert sample.perturbed_log_probs.shape == (3, 60)
    assert not sample.perturbed_log_probs.requires_grad
    for ids, mask in (
        (sample.visible_ids, ~sample.mask),
        (sample.masked_ids, sample.mask),
    ):
        assert torch.equal(ids, mask.nonzero()[:, 1].reshape(3, -1))
    assert (sample.log_probs is not None) == isinstance(sampler, AdaptiveSamplerHead)
    if sample.log_probs is not None:
        assert sample.log_probs.dtype == torch.float32
        assert_close(sample.log_probs.exp().sum(1), torch.ones(3), rtol=1e-4, atol=0)


@pytest.mark.parametrize('name', SAMPLERS)
def test_forced_mask(name):
    sampler, mask = build(name), torch.zeros(2, 60, dtype=torch.bool)
    mask[0, :10] = mask[1, 14:24] = True
    tokens = tokens_for(sampler, 2)
    sample = sampler(tokens, mask)
    assert torch.equal(sample.mask, mask) and sample.perturbed_log_probs is None
    assert sample.masked_ids[1].tolist() == list(range(14, 24))


def test_forced_masks_that_are_rejected():
    sampler, mask = build('Random'), torch.eye(2, 60).bool()
    with pytest.raises(ValueError, match=r'expected bool of shape \(2, 60\)'):
        sampler(tokens_for(sampler, 2), mask[:, 1:])
    mask[1, 0] = True
    with pytest.raises(ValueError, match='same number of visible tokens'):
        sampler(tokens_for(sampler, 2), mask)


@pytest.mark.parametrize('name', SAMPLERS)
def test_same_seed_same_masks_and_others_after_it(name):
    sampler = build(name).eval()
    tokens = tokens_for(sampler, 4)
    torch.manual_seed(3)
    first, second = sampler(tokens).mask, sampler(tokens).mask
    torch.manual_seed(3)
    assert torch.equal(sampler(tokens).mask, first)
    assert not torch.equal(second, first)
    assert len(first.unique(dim=0)) > 1  # every clip its own


@pytest.mark.parametrize('grid', GRIDS[:4])
def test_tubes_and_frames_are_whole(grid):
    for name in ('Tube', 'Frame'):
        sampler = build(name, grid_size=grid)
        mask = sampler(tokens_for(sampler)).mask.reshape(3, grid[0], -1)
        mask = mask if name == 'Tube' else mask.transpose(1, 2)
        assert (mask == mask[:, :1]).all()
        assert mask[:, 0].any(-1).all() and not mask[:, 0].all(-1).any()


@pytest.mark.parametrize('name, units', [('Random', 60), ('Tube', 15), ('Frame', 4)])
def test_every_token_is_as_likely_to_be_visible(name, units):
    """What is drawn are tokens, positions or time steps: a quarter of them."""
    draws = 20_000
    visible = ~build(name)(torch.zeros(draws, 60, 4)).mask.reshape(draws, 4, 15)
    if name != 'Random':
        visible = visible.amax(1 if name == 'Tube' else 2)
    counts = visible.reshape(draws, units).sum(0).double()
    share = counts.sum().item() / units / draws
    assert share == pytest.approx(0.25, abs=0.02)  # of 15 positions, 4 are visible
    # Without replacement, counts vary less than independent ones.
    variance = draws * share * (1 - share) * units / (units - 1)
    statistic = ((counts - draws * share) ** 2).sum().item() / variance
    assert chi2(units - 1).sf(statistic) > 1e-6


class CountOperations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('name', SAMPLERS)
def test_no_loop_over_the_batch(name):
    sampler, operations = build(name), set()
    for batch in (2, 32):
        tokens = tokens_for(sampler, batch)
        with CountOperations() as counter:
            sampler(tokens)
        operations.add(counter.count)
    assert len(operations) == 1 and min(operations) > 0


@pytest.mark.parametrize('name', ['Adaptive', 'Tube'])
def test_the_number_of_workers_does_not_change_the_masks(name):
    """Masks are drawn where the model is, not where data are loaded."""
    clips = TensorDataset(torch.randn(8, 3, 8, 16, 16))
    model = MODELS.build(tiny_model_cfg(dict(SAMPLERS[name], mask_ratio=0.75)))
    masks = []
    for workers in (0, 2):
        torch.manual_seed(5)
        loader = DataLoader(clips, batch_size=2, shuffle=True, num_workers=workers)
        masks.append(torch.stack([model.reconstruct(x)[0].mask for (x,) in loader]))
    assert torch.equal(*masks)
    assert len(masks[0].flatten(0, 1).unique(dim=0)) > 2


# The learned distribution


def test_draws_without_replacement_follow_the_probabilities():
    """Every ordered pair of 5 has its own; the order is that of the perturbed ones."""
    probs = torch.tensor([0.5, 0.25, 0.15, 0.07, 0.03], dtype=torch.float64)
    draws = 200_000
    sample = FixedLogits(probs.log().float(), mask_ratio=0.6)(torch.zeros(draws, 5, 1))
    ordered = sample.perturbed_log_probs.argsort(1, descending=True)[:, :2]
    assert torch.equal(ordered.sort(1).values, sample.visible_ids)
    pairs = list(permutations(range(5), 2))
    observed = [(ordered == torch.tensor(p)).all(1).sum().item() for p in pairs]
    expected = [draws * (probs[a] * probs[b] / (1 - probs[a])).item() for a, b in pairs]
    assert sum(expected) == pytest.approx(draws)
    assert chisquare(observed, expected).pvalue > 1e-6


def test_temperature_and_uniform_share():
    """The formula in double, and draws that follow it."""
    logits = torch.tensor([3.0, 1.0, 0.5, -1.0, -4.0])
    sampler = FixedLogits(logits, 0.8, temperature=2.0, mix_uniform=0.3)
    draws = 50_000
    sample = sampler(torch.zeros(draws, 5, 1))
    expected = 0.7 * (logits.double() / 2).softmax(0) + 0.3 / 5
    assert_close(sample.log_probs[0].double(), expected.log(), rtol=1e-5, atol=1e-6)
    observed = sample.visible_ids.flatten().bincount(minlength=5).tolist()
    assert chisquare(observed, (draws * expected).tolist()).pvalue > 1e-6
    assert_close(log_distribution(logits[None]), logits[None].log_softmax(1))


@pytest.mark.parametrize('dtype', HALVES)
def test_a_uniform_share_is_a_floor_where_the_softmax_underflows(dtype):
    logits = torch.tensor([[3e4] + [0.0] * 15], dtype=dtype, requires_grad=True)
    log_probs = log_distribution(logits, temperature=0.5, mix_uniform=0.1)
    assert log_probs.dtype == torch.float32
    expected = torch.tensor([0.9 + 0.1 / 16] + [0.1 / 16] * 15)
    assert_close(log_probs[0].exp(), expected, rtol=1e-4, atol=0)
    log_probs.sum().backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize('dtype', HALVES)
@pytest.mark.parametrize('sharp', [20.0, 100.0, 3e4])
def test_extreme_probabilities(dtype, sharp):
    """One near 1, the others underflow; V is larger than what has any mass."""
    sampler = FixedLogits([sharp] + [0.0] * 15, mask_ratio=0.5, dtype=dtype)
    sample = sampler(torch.zeros(500, 16, 1, dtype=dtype))
    assert all(len(set(row)) == 8 for row in sample.visible_ids.tolist())
    assert (sample.visible_ids[:, 0] == 0).float().mean() > 0.99
    assert sample.log_probs.isfinite().all()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        log_probs = sampler(torch.zeros(1, 16, 1, dtype=dtype)).log_probs
    assert log_probs.dtype == torch.float32
    assert log_probs[0, 1].item() == pytest.approx(-sharp, rel=1e-2)
    # Among the tokens without mass, none is preferred.
    counts = (~sample.mask).sum(0)[1:].double()
    assert counts.min() > 0.7 * counts.mean()


def test_published_network():
    """One pre-norm block of 8 heads without qkv bias, dropout on its outputs only."""
    sampler = AdaptiveSamplerHead()
    names = {name for name, _ in sampler.named_parameters()}
    assert not any('q_bias' in n or 'v_bias' in n for n in names)
    assert len(sampler.blocks) == 1 and sampler.blocks[0].attn.num_heads == 8
    assert sampler.blocks[0].norm1.eps == 1e-5
    dropouts = [m.p for m in sampler.modules() if isinstance(m, torch.nn.Dropout)]
    assert [p for p in dropouts if p] == [0.1]
    assert not sampler.pos_embed.any()


def test_fused_head_is_the_same_function():
    """Logits and every gradient; two blocks, narrower than the tokens."""
    assert not build('Adaptive').fuses_head  # dropout is in between
    assert not build('mlp', drop_rate=0.0).fuses_head
    sampler = build('deep', drop_rate=0.0).double()
    assert sampler.fuses_head
    for param in sampler.parameters():
        torch.nn.init.normal_(param, std=0.3)
    x, weight = tokens_for(sampler).double(), torch.randn(3, 60).double()
    results = []
    for sampler.fuses_head in (True, False):
        log_probs = sampler.score(x)[1]
        loss = (log_probs * weight).sum()
        results.append([log_probs, *torch.autograd.grad(loss, sampler.parameters())])
    # Softmax is computed in float32.
    assert_close(*results, rtol=1e-4, atol=1e-5)


# What moves


def moving_square(batch=200):
    """Tokens that only change where a square is; returns tokens and where it moved."""
    background = torch.randn(batch, 1, 6, 6, 8)
    tokens = background.repeat(1, 4, 1, 1, 1) + 0.01 * torch.randn(batch, 4, 6, 6, 8)
    moved = torch.zeros(4, 6, 6, dtype=torch.bool)
    for step in range(4):
        tokens[:, step, 2, step] += 3.0
        # It differs where the square came from and where it is.
        moved[step, 2, max(step - 1, 0) : max(step, 1) + 1] = True
    return tokens.flatten(1, 3), moved.flatten()


@pytest.mark.parametrize('dtype', HALVES)
def test_difference_follows_what_moved(dtype):
    tokens, moved = moving_square()
    sampler = build('FrameDifference', 0.95, (4, 6, 6))
    assert sampler.num_visible == 7 and moved.sum() == 8
    # 8 of 144 tokens: 6% of those drawn blindly.
    drawn = sampler(tokens.to(dtype)).visible_ids
    assert moved[drawn].float().mean() > 0.8
    uniform = build('FrameDifference', 0.95, (4, 6, 6), temperature=1e4)
    assert moved[uniform(tokens.to(dtype)).visible_ids].float().mean() < 0.15


@pytest.mark.parametrize('dtype', HALVES)
@pytest.mark.parametrize('temperature', [0.1, 1.0])
def test_difference_of_a_still_clip_is_finite_and_draws_blindly(dtype, temperature):
    sampler = build('FrameDifference', temperature=temperature)
    tokens = torch.full((4000, 60, 4), 30000.0).to(dtype)
    scores, _ = sampler.score(tokens)
    assert scores.dtype == torch.float32 and scores.isfinite().all()
    counts = (~sampler(tokens).mask).sum(0).double()
    assert counts.sum() == 4000 * 15
    assert counts.min() > 850 and counts.max() < 1150


@pytest.mark.parametrize(
    'name, options, message',
    [
        ('Adaptive', dict(temperature=0.0), 'expected more than 0, got 0.0'),
        ('Adaptive', dict(temperature=nan), 'expected more than 0, got nan'),
        ('FrameDifference', dict(temperature=0), 'expected more than 0, got 0'),
        ('FrameDifference', dict(temperature=nan), 'expected more than 0, got nan'),
        ('FrameDifference', dict(grid_size=(1, 9, 9)), 'expected 2 time steps or more'),
        ('Adaptive', dict(mix_uniform=1.0), r'expected a share in \[0, 1\), got 1.0'),
        ('Adaptive', dict(num_heads=5), 'num_heads=5 does not divide embed_dims=4'),
    ],
)
def test_options_that_are_rejected(name, options, message):
    with pytest.raises(ValueError, match=message):
        build(name, **options)
