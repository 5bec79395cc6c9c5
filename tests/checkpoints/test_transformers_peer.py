"""VideoMAE of ``transformers``, converted: the same numbers, and back bit for bit."""

import os

import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from torch.testing import assert_close

from projects.adamae.checkpoints.convert import convert
from projects.adamae.checkpoints.formats import to_ours
from tests.checkpoints.samples import assert_same, autoencoder, classifier, stored

os.environ.setdefault('HF_HUB_OFFLINE', '1')
transformers = pytest.importorskip('transformers')

SIZES = {
    'tiny': dict(image_size=32, num_frames=4, hidden_size=32, num_attention_heads=4),
    'odd': dict(
        image_size=48,
        num_frames=6,
        patch_size=8,
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=80,
        decoder_hidden_size=24,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=3,
    ),
}
CLASSES = 7


@pytest.fixture(params=SIZES)
def settings(request):
    small = dict(
        num_hidden_layers=2,
        intermediate_size=64,
        decoder_hidden_size=16,
        decoder_num_hidden_layers=2,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=40,
    )
    return {**small, 'layer_norm_eps': 1e-6, **SIZES[request.param]}


def peer(kind, settings, **kwargs):
    """A model of transformers with nothing at zero."""
    torch.manual_seed(0)
    config = transformers.VideoMAEConfig(
        **settings, **kwargs, attn_implementation='eager'
    )
    model = getattr(transformers, kind)(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):
            torch.nn.init.normal_(module.weight, mean=1, std=0.1)
            # Where transformers does not take layer_norm_eps it has 1e-5.
            module.eps = settings['layer_norm_eps']
    return model.eval()


def sizes(settings):
    """The arguments of our backbone."""
    return dict(
        size=settings['image_size'],
        patch_size=settings.get('patch_size', 16),
        frames=settings['num_frames'],
        embed_dims=settings['hidden_size'],
        depth=settings['num_hidden_layers'],
        num_heads=settings['num_attention_heads'],
        mlp_ratio=settings['intermediate_size'] / settings['hidden_size'],
    )


def clips_for(model, batch=2):
    cfg = model.config
    torch.manual_seed(1)
    shape = (batch, cfg.num_frames, cfg.num_channels, cfg.image_size, cfg.image_size)
    return torch.rand(shape).double() * 4 - 2


def tube_mask(model, batch=2):
    """Half of the positions masked, the same ones at all times, others in each clip."""
    cfg = model.config
    positions = (cfg.image_size // cfg.patch_size) ** 2
    order = torch.rand(batch, positions).argsort(dim=1)
    steps = cfg.num_frames // cfg.tubelet_size
    return (order < positions // 2).repeat(1, steps)


def assert_same_gradients(ours, theirs):
    """Every gradient to 1e-5 of its largest entry: errors are float32."""
    expected = to_ours({name: p.grad for name, p in theirs.named_parameters()})
    grads = {name: p.grad for name, p in ours.named_parameters()}
    assert grads.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = gradient.abs().max().item()
        assert scale > 1e-8, name
        assert_close(grads[name], gradient, rtol=1e-5, atol=1e-5 * scale, msg=name)


def round_trip(model, settings, tmp_path):
    """Convert a model to ours, back, and check the files; return our weights."""
    model.save_pretrained(tmp_path / 'hf')
    report = '\n'.join(convert(tmp_path / 'hf', tmp_path / 'ours.pth'))
    assert f'found: {type(model).__name__} of transformers' in report
    assert 'assumed' not in report
    convert(tmp_path / 'ours.pth', tmp_path / 'back', 'transformers')
    first, second = (stored(tmp_path / name) for name in ('hf', 'back'))
    assert_same({name: second[name] for name in first}, first)
    loaded, info = type(model).from_pretrained(
        tmp_path / 'back', output_loading_info=True
    )
    assert not any(info.values()), info
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    for key in settings:
        if not key.startswith('decoder_') or hasattr(model, 'decoder'):
            assert getattr(loaded.config, key) == settings[key], key
    return torch.load(tmp_path / 'ours.pth')['state_dict']


def test_pretraining(settings, tmp_path):
    theirs = peer('VideoMAEForPreTraining', settings, use_mean_pooling=False)
    cfg = autoencoder('RandomSamplerHead', **sizes(settings))
    width = settings['decoder_hidden_size']
    cfg['decoder'].update(
        embed_dims=width,
        depth=settings['decoder_num_hidden_layers'],
        num_heads=settings['decoder_num_attention_heads'],
        mlp_ratio=settings['decoder_intermediate_size'] / width,
    )
    ours = MODELS.build(cfg).eval()
    ours.load_state_dict(round_trip(theirs, settings, tmp_path), strict=True)
    ours.double(), theirs.double()
    clips, mask = clips_for(theirs), tube_mask(theirs)
    expected = theirs(clips, bool_masked_pos=mask)
    expected.loss.backward()
    inputs = clips.transpose(1, 2)
    sample, pred = ours.reconstruct(inputs, mask)
    assert torch.equal(sample.mask, mask)
    assert_close(pred, expected.logits)
    losses = ours(inputs, None, 'loss', mask=mask)
    assert set(losses) == {'loss_reconstruction'}
    assert_close(losses['loss_reconstruction'], expected.loss, rtol=1e-5, atol=0)
    losses['loss_reconstruction'].backward()
    assert_same_gradients(ours, theirs)


def test_classification(settings, tmp_path):
    theirs = peer('VideoMAEForVideoClassification', settings, num_labels=CLASSES)
    cfg = classifier(CLASSES, **sizes(settings))
    cfg['cls_head']['in_channels'] = settings['hidden_size']
    ours = MODELS.build(cfg).eval()
    ours.load_state_dict(round_trip(theirs, settings, tmp_path), strict=True)
    ours.double(), theirs.double()
    clips, labels = clips_for(theirs), torch.tensor([2, 5])
    expected = theirs(clips, labels=labels)
    expected.loss.backward()
    logits = ours.cls_head(ours.backbone(clips.transpose(1, 2)))
    assert_close(logits, expected.logits)
    F.cross_entropy(logits, labels).backward()
    assert_same_gradients(ours, theirs)


def test_other_models_are_rejected(tmp_path):
    model = transformers.VideoMAEModel(transformers.VideoMAEConfig(**SIZES['tiny']))
    model.save_pretrained(tmp_path / 'hf')
    with pytest.raises(ValueError, match='not a checkpoint of a known kind'):
        convert(tmp_path / 'hf', tmp_path / 'a.pth')
