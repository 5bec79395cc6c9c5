"""Pre-training goes on from weights that have no token sampler, as VideoMAE's."""

import pytest
import torch
from mmaction.registry import MODELS

from projects.adamae.checkpoints import CheckpointMismatch, adapt, adapt_checkpoint
from projects.adamae.checkpoints.convert import convert
from tests.helpers import tiny_model_cfg


@pytest.fixture
def messages(monkeypatch):
    """What is logged, with its level."""
    found = []
    log = lambda text, logger, level: found.append((level, text))  # noqa: E731
    monkeypatch.setattr(adapt, 'print_log', log)
    return found


def tube():
    torch.manual_seed(1)
    model = MODELS.build(tiny_model_cfg(dict(type='TubeSamplerHead', mask_ratio=0.75)))
    return dict(state_dict=dict(model.state_dict()))


def test_a_missing_sampler_is_left_as_it_was_initialized(messages):
    checkpoint, model = tube(), MODELS.build(tiny_model_cfg())
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    weights = adapt_checkpoint(checkpoint, model, 'train')
    model.load_state_dict(weights)
    for name, weight in model.state_dict().items():
        start = kept if name.startswith('sampler.') else tube()['state_dict']
        assert torch.equal(weight, start[name]), name
    ((level, text),) = messages
    assert level == 30 and text.startswith('the checkpoint has no token sampler: that')


@pytest.mark.parametrize('purpose', ['test', 'resume'])
def test_only_training_begins_one(purpose):
    checkpoint = {**tube(), 'message_hub': {}}
    with pytest.raises(CheckpointMismatch, match='missing: sampler'):
        adapt_checkpoint(checkpoint, MODELS.build(tiny_model_cfg()), purpose)


def test_part_of_a_sampler_is_an_error():
    model = MODELS.build(tiny_model_cfg())
    weights = dict(model.state_dict())
    name = next(name for name in weights if name.startswith('sampler.'))
    del weights[name]
    with pytest.raises(CheckpointMismatch, match=f'missing: {name}'):
        adapt_checkpoint(dict(state_dict=weights), model, 'train')


def test_an_encoder_alone_is_an_error():
    weights = {
        name: weight
        for name, weight in tube()['state_dict'].items()
        if name.startswith('backbone.')
    }
    model = MODELS.build(tiny_model_cfg())
    with pytest.raises(CheckpointMismatch, match='decoder.depth=None'):
        adapt_checkpoint(dict(state_dict=weights), model, 'train')


def test_released_files_go_this_way(tmp_path, messages):
    """As VideoMAE's authors name the weights, there and back by the converter."""
    ours, released = tmp_path / 'ours.pth', tmp_path / 'released.pth'
    torch.save(tube(), ours)
    convert(str(ours), str(released), 'released')
    convert(
        str(released),
        str(tmp_path / 'back.pth'),
        'ours',
        overrides={'backbone.num_frames': 8, 'backbone.img_size': 16},
    )
    checkpoint = torch.load(tmp_path / 'back.pth')
    adapt_checkpoint(checkpoint, MODELS.build(tiny_model_cfg()), 'train')
    assert 'no token sampler' in messages[-1][1]
