"""Masks that learn nothing: tube, frame, random and frame difference."""

import re
from fractions import Fraction
from math import nan, prod

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.runner import Runner, set_random_seed
from scipy.stats import chi2
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from projects.adamae import FrameDifferenceSamplerHead
from tests.helpers import tiny_model_cfg

GRIDS = [(8, 14, 14), (8, 7, 7), (16, 20, 20), (4, 6, 10), (2, 3, 5)]
TYPES = ['Random', 'Tube', 'Frame', 'FrameDifference']


def build(name, mask_ratio=0.75, grid_size=(4, 3, 5)):
    return MODELS.build(
        dict(type=f'{name}SamplerHead', mask_ratio=mask_ratio, grid_size=grid_size)
    )


def draw(name, batch=3, **kwargs):
    sampler = build(name, **kwargs)
    return sampler(torch.randn(batch, sampler.num_tokens, 4))


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
    """The rule in exact fractions, at every ratio of the paper's tables."""
    steps, *places = grid
    share = 1 - Fraction(ratio)
    expected = {
        'Tube': steps * (prod(places) - int((1 - share) * prod(places))),
        'Frame': int(steps * share) * prod(places),
    }.get(name, int(prod(grid) * share))
    if not expected:
        with pytest.raises(ValueError, match=f'mask_ratio={ratio} leaves 0 of'):
            build(name, float(ratio), grid)
        return
    extra = dict(in_channels=4, num_heads=1) if name == 'Adaptive' else {}
    sampler = MODELS.build(
        dict(
            type=f'{name}SamplerHead', mask_ratio=float(ratio), grid_size=grid, **extra
        )
    )
    sample = sampler(torch.randn(2, prod(grid), 4))
    assert (~sample.mask).sum(1).tolist() == [expected] * 2
    assert sample.visible_ids.shape == (2, expected)
    assert sample.masked_ids.shape == (2, prod(grid) - expected)


@pytest.mark.parametrize(
    'name, ratio, visible',
    [
        ('Tube', 0.75, 392),
        ('Tube', 0.9, 160),
        ('Random', 0.75, 392),
        ('Random', 0.9, 156),
        ('Frame', 0.875, 196),
        ('FrameDifference', 0.95, 78),
    ],
)
def test_published_numbers(name, ratio, visible):
    assert build(name, ratio, (8, 14, 14)).num_visible == visible


@pytest.mark.parametrize('name', TYPES)
@pytest.mark.parametrize('ratio', [-0.5, 0, 1, 1.5])
def test_ratio_that_is_none(name, ratio):
    message = f'mask_ratio: expected a number in (0, 1), got {ratio}'
    with pytest.raises(ValueError, match=re.escape(message) + '$'):
        build(name, ratio)


@pytest.mark.parametrize(
    'name, ratio, left',
    [
        ('Random', 0.99, '0 of 60 tokens'),
        ('Tube', 0.01, '15 of 15 places'),
        ('Frame', 0.95, '0 of 4 time steps'),
    ],
)
def test_ratio_that_leaves_nothing(name, ratio, left):
    with pytest.raises(ValueError, match=f'mask_ratio={ratio} leaves {left} visible'):
        build(name, ratio)


@pytest.mark.parametrize('name', TYPES)
def test_same_seed_same_masks(name):
    torch.manual_seed(0)
    sampler, tokens = build(name), torch.randn(4, 60, 4)
    masks = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        masks.append(sampler(tokens).mask)
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert len(masks[0].unique(dim=0)) > 1  # every clip its own


@pytest.mark.parametrize('grid', GRIDS[:4])
def test_tube_is_the_same_at_every_time_step(grid):
    mask = draw('Tube', grid_size=grid).mask.reshape(3, grid[0], -1)
    assert (mask == mask[:, :1]).all()
    assert mask[:, 0].any() and not mask[:, 0].all()


@pytest.mark.parametrize('grid', GRIDS[:4])
def test_frame_is_all_or_nothing_at_every_time_step(grid):
    mask = draw('Frame', grid_size=grid).mask.reshape(3, grid[0], -1)
    assert (mask.all(-1) | ~mask.any(-1)).all()


@pytest.mark.parametrize('name, units', [('Random', 60), ('Tube', 15), ('Frame', 4)])
def test_every_token_is_as_likely_to_be_visible(name, units):
    """What is drawn are tokens, places or time steps: a quarter of them."""
    draws = 20_000
    visible = ~draw(name, batch=draws).mask.reshape(draws, 4, 15)
    if name == 'Tube':
        visible = visible[:, 0]
    if name == 'Frame':
        visible = visible[:, :, 0]
    counts = visible.reshape(draws, units).sum(0).double()
    share = counts.sum().item() / units / draws
    assert share == pytest.approx(0.25, abs=0.02)  # of 15 places, 4 are visible
    # Without replacement, counts vary less than independent ones.
    variance = draws * share * (1 - share) * units / (units - 1)
    statistic = ((counts - draws * share) ** 2).sum().item() / variance
    assert chi2(units - 1).sf(statistic) > 1e-3


class CountOperations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('name', [*TYPES, 'Adaptive'])
def test_no_loop_over_the_batch_and_no_wait_for_a_value(name):
    extra = dict(in_channels=4, num_heads=1) if name == 'Adaptive' else {}
    sampler = MODELS.build(
        dict(type=f'{name}SamplerHead', mask_ratio=0.75, grid_size=(4, 3, 5), **extra)
    )
    operations = []
    for batch in (2, 32):
        tokens = torch.randn(batch, 60, 4)
        with CountOperations() as counter:
            sampler(tokens)
        operations.append(counter.count)
    assert operations[0] == operations[1] > 0
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert sampler(torch.randn(2, 60, 4)).mask.shape == (2, 60)


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


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_difference_follows_what_moved(dtype):
    tokens, moved = moving_square()
    sampler = build('FrameDifference', 0.95, (4, 6, 6))
    assert sampler.num_visible == 7 and moved.sum() == 8
    sample = sampler(tokens.to(dtype))
    # 8 of 144 tokens: 6% of those drawn blindly.
    assert sample.visible_ids.shape == (200, 7) and sample.log_probs is None
    assert moved[sample.visible_ids].float().mean() > 0.8
    uniform = FrameDifferenceSamplerHead(
        mask_ratio=0.95, grid_size=(4, 6, 6), temperature=1e4
    )
    assert moved[uniform(tokens.to(dtype)).visible_ids].float().mean() < 0.15


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('temperature', [0.1, 1.0])
def test_difference_of_a_still_clip_is_finite_and_draws_blindly(dtype, temperature):
    sampler = FrameDifferenceSamplerHead(
        temperature, mask_ratio=0.75, grid_size=(4, 3, 5)
    )
    tokens = torch.full((4000, 60, 4), 30000.0).to(dtype)
    keys, _ = sampler.score(tokens)
    assert keys.dtype == torch.float32 and keys.isfinite().all()
    counts = (~sampler(tokens).mask).sum(0).double()
    assert counts.sum() == 4000 * 15
    assert counts.min() > 850 and counts.max() < 1150


def test_difference_needs_time_and_a_temperature():
    with pytest.raises(ValueError, match='expected 2 time steps or more'):
        build('FrameDifference', 0.75, (1, 14, 14))
    with pytest.raises(ValueError, match='temperature: expected more than 0, got 0'):
        FrameDifferenceSamplerHead(0, mask_ratio=0.75, grid_size=(4, 3, 5))
    with pytest.raises(ValueError, match='expected more than 0, got nan'):
        FrameDifferenceSamplerHead(nan, mask_ratio=0.75, grid_size=(4, 3, 5))


class Clips(torch.utils.data.Dataset):
    """Clips that depend on nothing but their number."""

    def __len__(self):
        return 8

    def __getitem__(self, i):
        generator = torch.Generator().manual_seed(i)
        clip = torch.randint(0, 256, (1, 3, 8, 16, 16), generator=generator)
        return dict(inputs=clip.to(torch.uint8), data_samples=ActionDataSample())


@pytest.mark.parametrize('name', ['Adaptive', 'Tube'])
def test_the_number_of_workers_does_not_change_the_masks(name, tmp_path):
    """Masks are drawn where the model is, not where data are loaded."""
    masks = []
    for workers in (0, 2):
        extra = dict(num_heads=2) if name == 'Adaptive' else {}
        sampler = dict(type=f'{name}SamplerHead', mask_ratio=0.75, **extra)
        set_random_seed(0)
        model = MODELS.build(tiny_model_cfg(sampler))
        seen = []
        model.sampler.register_forward_hook(
            lambda module, args, sample, seen=seen: seen.append(sample.mask)
        )
        Runner(
            model=model,
            work_dir=str(tmp_path / str(workers)),
            train_dataloader=dict(
                batch_size=2,
                num_workers=workers,
                dataset=Clips(),
                sampler=dict(type='DefaultSampler', shuffle=True),
                collate_fn=dict(type='pseudo_collate'),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=2),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-2)),
            default_hooks=dict(checkpoint=None),
            randomness=dict(seed=5),
            default_scope='mmaction',
            log_level='WARNING',
            experiment_name=f'{tmp_path.name}_{name}_{workers}',
        ).train()
        masks.append(torch.stack(seen))
    assert masks[0].shape == (8, 2, 16)
    assert torch.equal(masks[0], masks[1])
    assert len(masks[0].flatten(0, 1).unique(dim=0)) > 2
