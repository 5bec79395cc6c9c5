import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from torch._subclasses import FakeTensorMode
from torch.testing import assert_close

from projects.adamae.models.samplers import TokenSampler
from tests.helpers import tiny_model_cfg, tiny_spatiotemporal_cfg

ADAPTIVE = dict(type='AdaptiveSamplerHead', mask_ratio=0.75, num_heads=2)
CLIPS = torch.randn(2, 3, 8, 16, 16, generator=torch.Generator().manual_seed(0))


def sampler_cfg(name):
    return dict(type=f'{name}SamplerHead', mask_ratio=0.75)


MODEL_CFGS = {
    'adaptive': tiny_model_cfg(ADAPTIVE),
    'fused_head': tiny_model_cfg(dict(ADAPTIVE, drop_rate=0.0)),
    'random': tiny_model_cfg(sampler_cfg('Random')),
    'tube': tiny_model_cfg(sampler_cfg('Tube')),
    'frame': tiny_model_cfg(sampler_cfg('Frame')),
    'frame_difference': tiny_model_cfg(sampler_cfg('FrameDifference')),
    'linear': tiny_model_cfg(
        dict(ADAPTIVE, temperature=2.0, mix_uniform=0.1),
        loss=dict(
            type='AdaMAELoss', policy='linear', baseline='clip', entropy_weight=1e-4
        ),
    ),
    'plackett_luce': tiny_model_cfg(
        loss=dict(type='AdaMAELoss', policy='plackett_luce', baseline='batch')
    ),
    'random_subset': tiny_model_cfg(subset=dict(type='RandomSubset')),
    'running_cell_subset': tiny_model_cfg(subset=dict(type='RunningCellSubset')),
    'sampler_subset': tiny_model_cfg(subset=dict(type='SamplerSubset')),
    'spatiotemporal': tiny_spatiotemporal_cfg(),
}


@pytest.fixture(params=MODEL_CFGS)
def cfg(request):
    return MODEL_CFGS[request.param]


def build(cfg=None, **parts):
    model = MODELS.build(cfg or tiny_model_cfg(**parts))
    model.init_weights()
    return model


def predict(model):
    with torch.no_grad():
        return model(CLIPS, [ActionDataSample() for _ in CLIPS], 'predict')


def backward(model, clips=CLIPS):
    losses = model(clips, None, 'loss')
    sum(v for k, v in losses.items() if 'loss' in k).backward()


def test_training_step_waits_for_no_value(cfg):
    """Tensors without values: reading one, or a shape that depends on it, raises."""
    model = build(cfg)
    with FakeTensorMode(allow_non_fake_inputs=True):
        backward(model, torch.randn(3, 3, 8, 16, 16))


def test_predictions_are_in_token_order(cfg):
    model, close = build(cfg).eval(), dict(rtol=1e-4, atol=1e-5)
    target = model.criterion.target(model.pixels(CLIPS))
    for i, sample in enumerate(predict(model)):
        assert sample.mask.shape == sample.token_error.shape == (16,)
        assert ('probs' in sample) == (cfg['sampler']['type'] == ADAPTIVE['type'])
        assert sample.mask.sum() == 12
        assert_close(sample.pred[~sample.mask], target[i, ~sample.mask], **close)
        error = (sample.pred - target[i]).square().mean(-1)
        assert_close(sample.token_error, error, **close)
        assert torch.equal(sample.token_error > 0, sample.mask)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast(cfg, dtype):
    model = build(cfg)
    with torch.autocast('cpu', dtype=dtype):
        losses = model(CLIPS, None, 'loss')
    assert all(v.dtype == torch.float32 and v.isfinite() for v in losses.values())
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_features():
    """Mode "tensor": all tokens, or the visible ones of a forced mask."""
    model = build().eval()
    mask = torch.ones(2, 16, dtype=torch.bool)
    mask[:, ::4] = False
    assert model(CLIPS).shape == (2, 16, 16)
    tokens = model.backbone.embed(CLIPS)
    visible = torch.tensor([[0, 4, 8, 12]]).expand(2, -1)
    assert_close(model(CLIPS, mask=mask), model.backbone.encode(tokens, visible))


class FirstTokens(TokenSampler):
    """A strategy of one's own, and not in the package: the first tokens stay."""

    def score(self, tokens):
        return -torch.arange(tokens.shape[1]).expand(tokens.shape[:2]).float(), None


def test_a_new_strategy_needs_nothing_from_the_recognizer():
    model = build(sampler=dict(type=FirstTokens, mask_ratio=0.75))
    backward(model)
    for sample in predict(model):
        assert sample.mask.nonzero().flatten().tolist() == [*range(4, 16)]


def test_sizes_are_written_once():
    model = build()
    assert model.sampler.grid_size == (4, 2, 2)
    assert model.decoder.head.out_features == 2 * 8 * 8 * 3
    assert model.decoder.embed.in_features == model.backbone.embed_dims


@pytest.mark.parametrize('kind', ['Masked', 'Separable'])
def test_the_decoder_needs_every_token(kind):
    backbone = dict(type=f'{kind}VisionTransformer')
    with pytest.raises(ValueError, match='use_mean_pooling: expected False.*leave it'):
        build(backbone=dict(backbone, use_mean_pooling=True))
    for option in ({}, dict(use_mean_pooling=False)):
        assert isinstance(
            build(backbone=backbone | option).backbone.norm, torch.nn.LayerNorm
        )


TWICE = ': expected .*, got .*leave it out'


@pytest.mark.parametrize(
    'parts, message',
    [
        (dict(sampler=dict(ADAPTIVE, grid_size=(1, 2, 2))), 'grid_size' + TWICE),
        (dict(decoder=dict(grid_size=(8, 2, 2))), 'grid_size' + TWICE),
        (dict(decoder=dict(out_channels=768)), 'out_channels' + TWICE),
        (
            dict(loss=dict(type='AdaMAELoss', token_shape=(2, 4, 4, 3))),
            'token_shape' + TWICE,
        ),
        (
            dict(subset=dict(type='RunningCellSubset', grid_size=(1, 2, 2))),
            'grid_size' + TWICE,
        ),
        (dict(subset=dict(keep=0.5)), r"expected a type .* got {'keep': 0.5}"),
        (
            dict(sampler=dict(ADAPTIVE, type='TubeSamplerHead')),
            "TubeSamplerHead: .* 'num_heads'; .*_delete_",
        ),
    ],
)
def test_options_that_do_not_fit(parts, message):
    with pytest.raises(ValueError, match=message):
        build(**parts)


def test_activation_checkpointing_changes_nothing():
    gradients = []
    for with_cp in (False, True):
        part = dict(with_cp=with_cp)
        backbone = dict(part, drop_path_rate=0.5)
        torch.manual_seed(0)
        model = build(sampler=dict(ADAPTIVE, **part), backbone=backbone, decoder=part)
        torch.manual_seed(1)
        backward(model.double().train(), CLIPS.double())
        gradients.append({n: p.grad for n, p in model.named_parameters()})
    assert_close(*gradients, rtol=1e-4, atol=1e-6)
