"""Merged groups: fewer of them, the same update of every parameter."""

import copy

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.optim import build_optim_wrapper
from torch.testing import assert_close

from projects.adamae.checkpoints import CheckpointMismatch
from projects.adamae.engine.optimizers import merge_param_groups
from tests.helpers import tiny_model_cfg

CFG = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.01, betas=(0.9, 0.95), weight_decay=0.05),
    paramwise_cfg=dict(
        flat_decay_mult=0.0,
        custom_keys={
            'mask_token': dict(decay_mult=0.0),
            'sampler.head': dict(lr_mult=0.1),
        },
    ),
)
MERGED = dict(CFG, constructor='MergedOptimWrapperConstructor')


def settings(wrapper):
    return {
        id(p): (g['lr'], g['weight_decay'], g['betas'])
        for g in wrapper.optimizer.param_groups
        for p in g['params']
    }


def test_every_parameter_keeps_its_settings():
    model = MODELS.build(tiny_model_cfg())
    stock = build_optim_wrapper(model, copy.deepcopy(CFG))
    ours = build_optim_wrapper(model, copy.deepcopy(MERGED))
    assert settings(ours) == settings(stock)
    groups = ours.optimizer.param_groups
    assert len(stock.optimizer.param_groups) == len(list(model.parameters()))
    assert len(groups) == 3
    assert groups[0]['group_name'] == 'lr=0.01 weight_decay=0.05'


@pytest.mark.parametrize('wrapper', [{}, dict(clip_grad=dict(max_norm=0.01))])
@pytest.mark.parametrize('accumulate', [1, 2])
def test_same_steps_as_the_stock_constructor_and_optimizer(wrapper, accumulate):
    """Merged groups and the fused kernel, with clipping and accumulation.

    In float64: AdamW divides by the gradient's size, so that a gradient of rounding
    errors becomes a whole step wherever they are not far below its ``eps``.
    """
    stock_model = MODELS.build(tiny_model_cfg()).double()
    stock_model.sampler.blocks[0].drop_path.p = 0.0
    model = copy.deepcopy(stock_model)
    wrapper = dict(wrapper, accumulative_counts=accumulate)
    fused = dict(MERGED, **wrapper, optimizer=dict(CFG['optimizer'], fused=True))
    runs = (
        (stock_model, build_optim_wrapper(stock_model, dict(CFG, **wrapper))),
        (model, build_optim_wrapper(model, fused)),
    )
    for m, w in runs:
        w.initialize_count_status(m, 0, 4)
    for _ in range(4):
        clips = torch.randn(2, 3, 8, 16, 16, dtype=torch.float64)
        mask = torch.rand(2, 16).argsort(1) < 12
        for m, w in runs:
            assert w.inner_count % accumulate or all(
                p.grad is None for p in m.parameters()
            ), 'no gradient is kept during the forward pass'
            losses = m(clips, mode='loss', mask=mask)
            w.update_params(m.parse_losses(losses)[0])
    assert_close(model.state_dict(), stock_model.state_dict(), rtol=0, atol=1e-7)


def test_merging_groups_of_other_constructors():
    a, b, c, d = (torch.zeros(1) for _ in range(4))
    groups = [
        dict(params=[a], param_names=['a'], lr=1.0, group_name='layer_0'),
        dict(params=[b], param_names=['b'], lr=0.5, group_name='layer_1'),
        dict(params=[c, d], param_names=['c', 'd'], lr=1.0, group_name='layer_2'),
    ]
    merged = merge_param_groups(groups)
    assert [g['param_names'] for g in merged] == [['a', 'c', 'd'], ['b']]
    assert [g['group_name'] for g in merged] == ['layer_0', 'layer_1']
    assert len(groups[0]['params']) == 1, 'the input is left alone'
    assert merge_param_groups(merged) == merged


def test_checkpoint_with_other_groups():
    model = MODELS.build(tiny_model_cfg())
    state = build_optim_wrapper(model, copy.deepcopy(CFG)).state_dict()
    ours = build_optim_wrapper(model, copy.deepcopy(MERGED))
    with pytest.raises(
        CheckpointMismatch, match='in 3 groups, got .*DefaultOptimWrapperConstructor'
    ):
        ours.load_state_dict(state)
    ours.load_state_dict(ours.state_dict())


def with_shared_weight():
    model = MODELS.build(tiny_model_cfg())
    model.decoder.again = torch.nn.Linear(8, 8)
    model.decoder.again.weight = model.decoder.head.weight
    return model


def test_a_shared_parameter_is_not_updated_twice():
    """Torch only warns of a parameter that is twice in one group."""
    expected = (
        r'decoder\.again\.weight is decoder\.head\.weight.*'
        r'paramwise_cfg\.bypass_duplicate=True'
    )
    with pytest.raises(ValueError, match=expected):
        build_optim_wrapper(with_shared_weight(), copy.deepcopy(MERGED))


def test_a_shared_parameter_is_updated_once_if_told_so():
    model = with_shared_weight()
    cfg = copy.deepcopy(MERGED)
    cfg['paramwise_cfg']['bypass_duplicate'] = True
    groups = build_optim_wrapper(model, cfg).optimizer.param_groups
    held = [id(p) for group in groups for p in group['params']]
    assert sorted(held) == sorted(id(p) for p in model.parameters())


def test_a_whole_number_equals_the_same_decimal_number():
    groups = [dict(params=[k], lr=lr) for k, lr in enumerate((10, 10.0, 1))]
    assert [g['params'] for g in merge_param_groups(groups)] == [[0, 1], [2]]
