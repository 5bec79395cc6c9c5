import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from torch._subclasses import FakeTensorMode
from torch.testing import assert_close

from projects.adamae.models.samplers import TokenSampler
from projects.adamae.models.tokens import patchify
from tests.helpers import tiny_model_cfg

SAMPLERS = [
    dict(type='AdaptiveSamplerHead', mask_ratio=0.75, num_heads=2),
    dict(type='RandomSamplerHead', mask_ratio=0.75),
    dict(type='TubeSamplerHead', mask_ratio=0.75),
    dict(type='FrameSamplerHead', mask_ratio=0.75),
    dict(type='FrameDifferenceSamplerHead', mask_ratio=0.75),
]


def build(sampler=None, **parts):
    model = MODELS.build(tiny_model_cfg(sampler, **parts))
    model.init_weights()
    return model


@pytest.mark.parametrize('sampler', SAMPLERS)
def test_training_step_waits_for_no_value(sampler):
    """Tensors without values: reading one, or a shape that depends on it, raises."""
    model = build(sampler)
    with FakeTensorMode(allow_non_fake_inputs=True):
        losses = model(torch.randn(3, 3, 8, 16, 16), None, 'loss')
        sum(v for k, v in losses.items() if 'loss' in k).backward()


@pytest.mark.parametrize(
    'options',
    [
        dict(policy='linear', baseline='clip', entropy_weight=1e-4),
        dict(policy='plackett_luce', baseline='batch'),
    ],
    ids=lambda options: options['policy'],
)
def test_options_wait_for_no_value(options):
    sampler = dict(SAMPLERS[0], temperature=2.0, mix_uniform=0.1)
    model = build(sampler, loss=dict(type='AdaMAELoss', **options))
    with FakeTensorMode(allow_non_fake_inputs=True):
        losses = model(torch.randn(3, 3, 8, 16, 16), None, 'loss')
        sum(v for k, v in losses.items() if 'loss' in k).backward()


@pytest.mark.parametrize('sampler', SAMPLERS)
def test_predictions_are_in_token_order(sampler):
    model = build(sampler).eval()
    clips = torch.randn(2, 3, 8, 16, 16)
    with torch.no_grad():
        samples = model(clips, [ActionDataSample() for _ in clips], 'predict')
        pixels = model.pixels(clips)
    target = model.criterion.target(pixels)
    for i, sample in enumerate(samples):
        assert sample.mask.shape == sample.token_error.shape == (16,)
        assert ('probs' in sample) == (sampler['type'] == 'AdaptiveSamplerHead')
        assert sample.mask.sum() == 12
        assert_close(sample.pred[~sample.mask], target[i, ~sample.mask])
        error = (sample.pred - target[i]).square().mean(-1)
        assert_close(sample.token_error, error)


def test_pixels_are_those_of_the_clip():
    model = build()
    clips = torch.rand(2, 3, 8, 16, 16)
    preprocessor = model.data_preprocessor
    normal = (clips * 255 - preprocessor.mean) / preprocessor.std
    ids = torch.tensor([[1, 5], [0, 15]])
    expected = patchify(clips, 8, 2)[torch.tensor([[0], [1]]), ids]
    assert_close(model.pixels(normal, ids), expected)


def test_features():
    """Mode "tensor": all tokens, or the visible ones of a forced mask."""
    model = build().eval()
    clips = torch.randn(2, 3, 8, 16, 16)
    mask = torch.ones(2, 16, dtype=torch.bool)
    mask[:, ::4] = False
    assert model(clips).shape == (2, 16, 16)
    tokens = model.backbone.embed(clips)
    visible = torch.tensor([[0, 4, 8, 12]]).expand(2, -1)
    assert_close(model(clips, mask=mask), model.backbone.encode(tokens, visible))


def test_no_gradient_where_there_should_be_none():
    """The sampler learns nothing from L_R, encoder and decoder nothing from L_S."""
    model = build()
    clips = torch.randn(2, 3, 8, 16, 16)
    losses = model(clips, None, 'loss')
    losses['loss_reconstruction'].backward(retain_graph=True)
    assert all(p.grad is None for p in model.sampler.parameters())
    model.zero_grad()
    losses['loss_sampling'].backward()
    touched = {n for n, p in model.named_parameters() if p.grad is not None}
    assert all(n.startswith(('sampler.', 'backbone.patch_embed.')) for n in touched)


class FirstTokens(TokenSampler):
    """A strategy of one's own, and not in the package: the first tokens stay."""

    def score(self, tokens):
        return -torch.arange(tokens.shape[1]).expand(tokens.shape[:2]).float(), None


def test_a_new_strategy_needs_nothing_from_the_recognizer():
    model = build(dict(type=FirstTokens, mask_ratio=0.75))
    clips = torch.randn(2, 3, 8, 16, 16)
    model(clips, None, 'loss')['loss_reconstruction'].backward()
    with torch.no_grad():
        samples = model(clips, [ActionDataSample() for _ in clips], 'predict')
    assert all(s.mask.nonzero().flatten().tolist() == [*range(4, 16)] for s in samples)


def test_sizes_are_written_once():
    model = build()
    assert model.sampler.grid_size == (4, 2, 2)
    assert model.decoder.head.out_features == 2 * 8 * 8 * 3
    assert model.decoder.embed.in_features == model.backbone.embed_dims


@pytest.mark.parametrize(
    'part, name, value',
    [
        ('sampler', 'grid_size', (1, 2, 2)),
        ('decoder', 'grid_size', (8, 2, 2)),
        ('decoder', 'out_channels', 768),
        ('loss', 'token_shape', (2, 4, 4, 3)),
        ('subset', 'grid_size', (1, 2, 2)),
    ],
)
def test_sizes_that_contradict_the_backbone(part, name, value):
    types = dict(sampler=SAMPLERS[1], subset=dict(type='RunningCellSubset'))
    types['loss'] = dict(type='AdaMAELoss')
    with pytest.raises(ValueError, match=f'{name}: expected .*, got .*leave it out'):
        build(**{part: {**types.get(part, {}), name: value}})


def test_part_without_a_type():
    with pytest.raises(ValueError, match=r"expected a type .* got {'keep': 0.5}"):
        build(subset=dict(keep=0.5))


def test_option_left_from_another_strategy():
    with pytest.raises(ValueError, match="TubeSamplerHead: .* 'num_heads'; .*_delete_"):
        build(dict(SAMPLERS[0], type='TubeSamplerHead'))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('sampler', SAMPLERS)
def test_autocast(sampler, dtype):
    model = build(sampler)
    with torch.autocast('cpu', dtype=dtype):
        losses = model(torch.randn(2, 3, 8, 16, 16), None, 'loss')
    assert all(v.dtype == torch.float32 and v.isfinite() for v in losses.values())
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_activation_checkpointing_changes_nothing():
    gradients = []
    for with_cp in (False, True):
        part = dict(with_cp=with_cp)
        sampler = dict(SAMPLERS[0], **part)
        torch.manual_seed(0)
        model = build(sampler, backbone=part, decoder=part).train()
        torch.manual_seed(1)
        losses = model(torch.randn(2, 3, 8, 16, 16), None, 'loss')
        sum(v for k, v in losses.items() if 'loss' in k).backward()
        gradients.append([p.grad for p in model.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert_close(a, b)
