"""Decoding some of the masked tokens: the draws, and that no estimate is biased.

The randomness of a choice is enumerated: every order of the noise, every offset, and
every interval of the one number that a systematic draw needs.
"""

from itertools import permutations, product
from unittest.mock import patch

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from torch.testing import assert_close

from projects.adamae import AdaMAELoss
from projects.adamae.models.subsets import (
    RandomSubset,
    RunningCellSubset,
    SamplerSubset,
)
from projects.adamae.models.subsets.running_cell_subset import probabilities_by_phase
from projects.adamae.models.subsets.sampler_subset import systematic_draw
from tests.helpers import tiny_model_cfg, token_sample

SUBSETS = [
    dict(type='RandomSubset', keep_ratio=0.4),
    dict(type='RunningCellSubset', keep_ratio=0.4),
    dict(type='SamplerSubset', keep_ratio=0.4, mix_uniform=0.2),
]
MASKED = 5  # so that 2 are decoded


def outcomes(subset, masked_ids, log_probs):
    """List every choice: ids (R, K), weights (R, K) and probabilities (R,)."""
    size = masked_ids.shape[1]
    orders = torch.tensor(list(permutations(range(size)))).double() / size
    if isinstance(subset, SamplerSubset):
        count = subset.count(size)
        q = log_probs.gather(1, masked_ids).softmax(1).double()
        q = (1 - subset.mix_uniform) * q + subset.mix_uniform / size
        ends = (count * q.cumsum(1) % 1).flatten().sort().values
        ends = torch.cat([torch.zeros(1), ends, torch.ones(1)])
        noise = offsets = ((ends[1:] + ends[:-1]) / 2)[:, None]
        probs = ends.diff()
    else:
        noise, offsets = orders, None
        if isinstance(subset, RunningCellSubset):
            noise = orders.repeat(4, 1)
            offsets = torch.arange(4).repeat_interleave(len(orders))[:, None]
        probs = torch.full((len(noise),), 1 / len(noise)).double()
    rows = len(noise)
    with (
        patch('torch.rand', return_value=noise),
        patch('torch.randint', return_value=offsets),
    ):
        ids, weights = subset(masked_ids.expand(rows, -1), log_probs.expand(rows, -1))
    assert probs.sum().item() == pytest.approx(1.0)
    return ids, weights, probs


@pytest.fixture(params=SUBSETS, ids=lambda cfg: cfg['type'])
def cfg(request):
    return request.param


@pytest.mark.parametrize(
    'policy, baseline',
    [
        ('log', None),
        ('log', 'clip'),
        ('linear', None),
        ('linear', 'clip'),
        ('plackett_luce', None),
    ],
)
def test_expected_losses_and_gradients_are_the_full_ones(cfg, policy, baseline):
    """Given the error of every token, over all choices."""
    loss = AdaMAELoss(sampling_weight=1.0, policy=policy, baseline=baseline)
    subset = MODELS.build(dict(grid_size=(2, 2, 2), **cfg))
    perturbed, patches = torch.randn(1, 8), torch.rand(1, 8, 8, 3).double()
    masked_ids = perturbed.topk(MASKED, largest=False).indices.sort().values
    # A prediction for every position.
    table = torch.randn(8, 24).double().requires_grad_()
    logits = torch.randn(1, 8).double().mul(2).requires_grad_()

    def step(ids, weights=None):
        log_probs = logits.log_softmax(1)
        draw = [x.expand(len(ids), -1) for x in (masked_ids, log_probs, perturbed)]
        sample = token_sample(draw[0], 8, *draw[1:])
        losses = loss(table[ids], patches[0][ids], sample, ids, weights)
        names = ('loss_reconstruction', 'loss_sampling')
        gradients = [
            torch.autograd.grad(losses[name], parameter, retain_graph=True)[0]
            for name, parameter in zip(names, (table, logits), strict=True)
        ]
        return [losses[name].detach() for name in names] + gradients

    full = step(masked_ids)
    ids, weights, probs = outcomes(subset, masked_ids, logits.log_softmax(1).detach())
    assert ids.shape[1] == 2
    # The loss is a mean over rows: scaled, it becomes the expectation.
    expectation = step(ids, weights * probs[:, None] * len(ids))
    assert_close(expectation, full, rtol=1e-4, atol=1e-5)  # weights are float32
    # One choice alone is another matter.
    assert (step(ids[:1], weights[:1])[0] - full[0]).abs() > 1e-3


def test_expectation_with_a_baseline_over_the_batch():
    """Two clips, every pair of choices."""
    loss = AdaMAELoss(sampling_weight=1.0, policy='plackett_luce', baseline='batch')
    perturbed, patches = torch.randn(2, 6), torch.rand(2, 6, 8, 3).double()
    masked_ids = perturbed.topk(4, dim=1, largest=False).indices.sort(1).values
    pred = torch.randn(2, 6, 24).double()
    logits = torch.randn(2, 6).double().requires_grad_()
    rows = torch.arange(2)[:, None]

    def step(ids, weights=None):
        sample = token_sample(masked_ids, 6, logits.log_softmax(1), perturbed)
        losses = loss(pred[rows, ids], patches[rows, ids], sample, ids, weights)
        return torch.autograd.grad(losses['loss_sampling'], logits)[0]

    choices = list(permutations(range(4), 2))
    gradients = [
        step(masked_ids.gather(1, torch.tensor(pair)), torch.full((2, 2), 0.5))
        for pair in product(choices, repeat=2)
    ]
    assert_close(torch.stack(gradients).mean(0), step(masked_ids), rtol=1e-5, atol=1e-6)


def test_expected_gradients_of_a_model(cfg):
    """Mask tokens of a decoder without blocks know nothing of each other."""
    loss = dict(type='AdaMAELoss', sampling_weight=1.0)
    model_cfg = tiny_model_cfg(loss=loss, decoder=dict(depth=0))
    model_cfg['sampler']['drop_rate'] = 0.0
    model = MODELS.build(model_cfg).double()
    torch.nn.init.normal_(model.decoder.mask_token)
    clip = torch.randn(1, 3, 8, 16, 16).double()
    masked_ids = torch.tensor([[0, 3, 5, 10, 13]])
    mask = torch.zeros(1, 16).scatter(1, masked_ids, 1).bool()

    def step(rows):
        model.zero_grad()
        clips, masks = clip.expand(rows, -1, -1, -1, -1), mask.expand(rows, -1)
        losses = model(clips, None, 'loss', mask=masks)
        (losses['loss_reconstruction'] + losses['loss_sampling']).backward()
        return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}

    full = step(1)
    log_probs = model.sampler(model.backbone.embed(clip), mask).log_probs.detach()
    subset = MODELS.build(dict(grid_size=(4, 2, 2), **cfg))
    ids, weights, probs = outcomes(subset, masked_ids, log_probs)
    scaled = weights * probs[:, None] * len(ids)
    model.subset = lambda masked_ids, log_probs: (ids, scaled)
    assert {name.split('.')[0] for name in full} == {'backbone', 'sampler', 'decoder'}
    assert_close(step(len(ids)), full, rtol=1e-4, atol=1e-5)


def test_a_choice_is_of_masked_tokens(cfg):
    subset = MODELS.build(dict(grid_size=(4, 6, 6), **{**cfg, 'keep_ratio': 0.3}))
    masked_ids = torch.rand(50, 144).argsort(1)[:, :100].sort(1).values
    log_probs = torch.randn(50, 144).log_softmax(1)
    ids, weights = subset(masked_ids, log_probs)
    assert ids.shape == weights.shape == (50, 30) and weights.dtype == torch.float32
    assert not weights.requires_grad and weights.min() > 0
    assert (ids[:, :, None] == masked_ids[:, None]).any(2).all()
    if not isinstance(subset, SamplerSubset):
        assert (ids.sort(1).values.diff() > 0).all()
    again, _ = subset(masked_ids, log_probs)
    assert not torch.equal(again, ids)


def test_running_cell():
    """Everything masked: half of every cell, one position on at the next step."""
    subset = RunningCellSubset(grid_size=(5, 4, 6))
    ids, weights = subset(torch.arange(120).expand(20, -1))
    assert_close(weights, torch.full((20, 60), 1 / 60))
    chosen = torch.zeros(20, 120, dtype=torch.bool).scatter(1, ids, True)
    # clip, step, row of cells, row in it, column of cells, column in it
    cells = chosen.reshape(20, 5, 2, 2, 3, 2).transpose(3, 4).flatten(4)
    assert (cells.sum(-1) == 2).all()
    assert (cells == cells[:, :, :1, :1]).all()
    pattern = cells[:, :, 0, 0]
    assert torch.equal(pattern[:, 1:], pattern[:, :-1].roll(1, dims=-1))
    assert len(pattern[:, 0].unique(dim=0)) == 4


@pytest.mark.parametrize(
    'phases, expected',
    [
        # Starting at 0 and 3: two of the three; at 1 and 2: the one, and one of three.
        ([0, 0, 0, 2], [(2 / 3 + 1 / 3) / 2] * 3 + [1 / 2]),
        # Starting at 0: two of the three; else: the one, and one of the three.
        ([0, 0, 0, 3], [5 / 12, 5 / 12, 5 / 12, 3 / 4]),
    ],
)
def test_probabilities_of_an_uneven_mask(phases, expected):
    """Three tokens in one position of the cell, one in another, two to choose."""
    probs = probabilities_by_phase(torch.tensor([phases]), 2, 4)
    assert probs[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize('count', [1, 4, 16])
def test_systematic_draw_counts(count):
    """As often as expected, give or take less than once; also without any mass."""
    probs = torch.cat([torch.tensor([0.7, 0.0]), torch.full((14,), 0.3 / 14)])
    starts = (torch.arange(10_000)[:, None] + 0.5) / 10_000
    drawn = systematic_draw(probs.expand(len(starts), -1), starts, count)
    times = torch.nn.functional.one_hot(drawn, 16).sum(1).double()
    expected = count * probs.double()
    assert_close(times.mean(0), expected, rtol=0, atol=2e-4)
    assert ((times - expected).abs() < 1).all()
    # Not even the very first point hits an item without mass.
    first = systematic_draw(torch.tensor([[0.0, 1.0]]), torch.zeros(1, 1), 1)
    assert first.tolist() == [[1]]


def test_likely_tokens_are_chosen_more_often_and_weigh_less():
    log_probs = torch.tensor([[3.0] * 4 + [0.0] * 12]).log_softmax(1)
    subset = SamplerSubset(keep_ratio=0.25, grid_size=(4, 2, 2))
    masked_ids = torch.arange(16).expand(1000, -1)
    ids, weights = subset(masked_ids, log_probs.expand(1000, -1))
    likely = ids < 4
    assert likely.float().mean() > 0.7
    assert weights[likely].max() < weights[~likely].min()
    assert weights.max() <= 1 / (4 * 0.1)


def test_subset_in_the_model(cfg):
    """The decoder sees fewer tokens in training, and all of them in evaluation."""
    model = MODELS.build(tiny_model_cfg(subset=cfg))
    plain = MODELS.build(tiny_model_cfg())
    assert model.state_dict().keys() == plain.state_dict().keys()
    asked = []
    model.decoder.register_forward_pre_hook(
        lambda module, args: asked.append(args[2].shape[1])
    )
    clips = torch.randn(2, 3, 8, 16, 16)
    losses = model(clips, None, 'loss')
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    assert all(p.grad is not None for p in model.parameters())
    with torch.no_grad():
        model(clips, [ActionDataSample() for _ in clips], 'predict')
    assert asked == [4, 12]


def test_all_of_the_tokens_are_no_subset():
    clips, losses = torch.randn(2, 3, 8, 16, 16), []
    mask = torch.rand(2, 16).argsort(1) < 12
    for parts in ({}, dict(subset=dict(type='RandomSubset', keep_ratio=1.0))):
        torch.manual_seed(0)
        model = MODELS.build(tiny_model_cfg(**parts)).eval()
        losses.append(model(clips, None, 'loss', mask=mask))
    assert_close(*losses, rtol=1e-4, atol=1e-6)  # in another order


@pytest.mark.parametrize(
    'subset, options, message',
    [
        (RandomSubset, dict(keep_ratio=0), r'keep_ratio: expected .* \(0, 1\], got 0'),
        (SamplerSubset, dict(mix_uniform=2), r'mix_uniform: expected .* got 2'),
        (RunningCellSubset, dict(cell_size=(0, 2)), 'cell_size: expected rows and col'),
        (RunningCellSubset, dict(cell_size=(2,)), 'cell_size: expected rows and col'),
    ],
)
def test_options_that_are_rejected(subset, options, message):
    with pytest.raises(ValueError, match=message):
        subset(**options)


def test_needs_a_learned_sampler():
    sampler = dict(type='RandomSamplerHead', mask_ratio=0.75)
    model = MODELS.build(tiny_model_cfg(sampler, subset=dict(type='SamplerSubset')))
    with pytest.raises(ValueError, match='expected the log-probabilities of a learned'):
        model(torch.randn(1, 3, 8, 16, 16), None, 'loss')
