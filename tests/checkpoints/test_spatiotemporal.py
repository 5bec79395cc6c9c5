"""Checkpoints of SpatiotemporalMAE: in, out, and into models."""

import argparse
import logging

import pytest
import torch
from mmaction.registry import MODELS
from torch import nn
from torch.testing import assert_close

from projects.adamae.checkpoints import CheckpointMismatch, fit_checkpoint, loading
from projects.adamae.checkpoints.convert import convert
from projects.adamae.checkpoints.files import read_checkpoint

SAY = {'backbone.num_heads': 4, 'decoder.num_heads': 2}
PREPROCESSOR = dict(mean=[114.75] * 3, std=[57.375] * 3, format_shape='NCTHW')
STEPS, SIDE, PATCH = 4, 2, 8


def block(name, width):
    weights = {}
    for norm in ('norm1', 'norm2'):
        weights[f'{name}.{norm}.weight'] = (width,)
        weights[f'{name}.{norm}.bias'] = (width,)
    for layer in ('q', 'k', 'v', 'proj'):
        weights[f'{name}.attn.{layer}.weight'] = (width, width)
        weights[f'{name}.attn.{layer}.bias'] = (width,)
    weights[f'{name}.mlp.fc1.weight'] = (4 * width, width)
    weights[f'{name}.mlp.fc1.bias'] = (4 * width,)
    weights[f'{name}.mlp.fc2.weight'] = (width, 4 * width)
    weights[f'{name}.mlp.fc2.bias'] = (width,)
    return weights


def tables(prefix, width):
    return {
        f'{prefix}cls_token': (1, 1, width),
        f'{prefix}pos_embed_class': (1, 1, width),
        f'{prefix}pos_embed_spatial': (1, SIDE**2, width),
        f'{prefix}pos_embed_temporal': (1, STEPS, width),
    }


def released(kind, depth=2, width=32, decoder_width=16):
    """Random weights under the published names."""
    shapes = tables('', width)
    shapes['patch_embed.proj.weight'] = (width, 3, 2, PATCH, PATCH)
    shapes['patch_embed.proj.bias'] = (width,)
    for i in range(depth):
        shapes |= block(f'blocks.{i}', width)
    shapes |= {'norm.weight': (width,), 'norm.bias': (width,)}
    if kind == 'pre-training':
        shapes |= tables('decoder_', decoder_width)
        shapes['mask_token'] = (1, 1, decoder_width)
        shapes['decoder_embed.weight'] = (decoder_width, width)
        shapes['decoder_embed.bias'] = (decoder_width,)
        shapes |= block('decoder_blocks.0', decoder_width)
        shapes |= dict.fromkeys(
            ('decoder_norm.weight', 'decoder_norm.bias'), (decoder_width,)
        )
        shapes['decoder_pred.weight'] = (PATCH**2 * 3, decoder_width)
        shapes['decoder_pred.bias'] = (PATCH**2 * 3,)
    if kind == 'classifier':
        shapes |= {'head.weight': (5, width), 'head.bias': (5,)}
    generator = torch.Generator().manual_seed(0)
    return {
        name: 0.3 * torch.randn(shape, generator=generator)
        for name, shape in shapes.items()
    }


def encoder(**kwargs):
    cfg = dict(img_size=16, patch_size=PATCH, num_frames=8, embed_dims=32, num_heads=4)
    return dict(type='SeparableVisionTransformer', depth=2, **cfg | kwargs)


def classifier(**kwargs):
    return dict(
        type='Recognizer3D',
        backbone=encoder(**kwargs),
        cls_head=dict(type='TimeSformerHead', num_classes=5, in_channels=32),
        data_preprocessor=dict(type='ActionDataPreprocessor', **PREPROCESSOR),
    )


def autoencoder(**kwargs):
    return dict(
        type='MAERecognizer',
        backbone=encoder(**kwargs),
        sampler=dict(type='RandomSamplerHead', mask_ratio=0.75),
        decoder=dict(type='SeparableMAEDecoder', embed_dims=16, depth=1, num_heads=2),
        loss=dict(type='SpatiotemporalMAELoss'),
        data_preprocessor=dict(type='AdaMAEDataPreprocessor', **PREPROCESSOR),
    )


def converted(folder, kind, to='ours', **kwargs):
    torch.save({'model': released(kind, **kwargs)}, folder / 'a.pth')
    lines = list(convert(folder / 'a.pth', folder / 'b.pth', to, SAY, force=True))
    return folder / 'b.pth', '\n'.join(lines)


@pytest.fixture
def messages(monkeypatch):
    said = []
    monkeypatch.setattr(
        loading, '_log', lambda text, level=logging.INFO: said.append(text)
    )
    return said


def published_blocks(w, name, x, depth, heads):
    """The blocks as PyTorch has them, biases of the keys included."""
    width = x.shape[-1]
    for i in range(depth):
        layer = nn.TransformerEncoderLayer(
            width,
            heads,
            4 * width,
            dropout=0.0,
            activation='gelu',
            layer_norm_eps=1e-6,
            batch_first=True,
            norm_first=True,
        )
        part = f'{name}.{i}'
        weights = {
            f'self_attn.in_proj_{p}': torch.cat(
                [w[f'{part}.attn.{x}.{p}'] for x in 'qkv']
            )
            for p in ('weight', 'bias')
        }
        for ours, theirs in (
            ('self_attn.out_proj', 'attn.proj'),
            ('linear1', 'mlp.fc1'),
            ('linear2', 'mlp.fc2'),
            ('norm1', 'norm1'),
            ('norm2', 'norm2'),
        ):
            for p in ('weight', 'bias'):
                weights[f'{ours}.{p}'] = w[f'{part}.{theirs}.{p}']
        layer.load_state_dict(weights)
        x = layer.train()(x)
    return x


def published_tokens(w, clips):
    x = nn.functional.conv3d(
        clips,
        w['patch_embed.proj.weight'],
        w['patch_embed.proj.bias'],
        stride=(2, PATCH, PATCH),
    )
    x = x.flatten(3).permute(0, 2, 3, 1)  # b, t, h * w, d
    x = x + w['pos_embed_temporal'][:, :, None] + w['pos_embed_spatial'][:, None]
    first = (w['cls_token'] + w['pos_embed_class']).expand(len(clips), -1, -1)
    return torch.cat([first, x.flatten(1, 2)], dim=1)


def test_logits_with_biases_of_the_keys(tmp_path):
    path, told = converted(tmp_path, 'classifier')
    assert 'found: fine-tuning checkpoint of the SpatiotemporalMAE authors' in told
    assert 'left out: 2 biases of attention keys (they move all logits' in told
    model = MODELS.build(classifier()).eval()
    model.load_state_dict(torch.load(path)['state_dict'], strict=True)
    w = released('classifier')
    clips = torch.randn(3, 3, 8, 16, 16)
    with torch.no_grad():
        x = published_blocks(w, 'blocks', published_tokens(w, clips), 2, 4)
        x = nn.functional.layer_norm(
            x[:, 1:].mean(1), (32,), w['norm.weight'], w['norm.bias'], eps=1e-6
        )
        logits = nn.functional.linear(x, w['head.weight'], w['head.bias'])
        assert_close(
            model.cls_head(model.backbone(clips)), logits, rtol=1e-5, atol=1e-5
        )


def test_predictions_with_biases_of_the_keys(tmp_path):
    path, told = converted(tmp_path, 'pre-training')
    assert 'found: pre-training checkpoint of the SpatiotemporalMAE authors' in told
    assert 'clips of 8x16x16, grid 4x2x2, decoder 16 wide, 1 deep' in told
    assert 'left out: 3 biases of attention keys' in told
    model = MODELS.build(autoencoder()).eval()
    model.load_state_dict(torch.load(path)['state_dict'], strict=True)
    w = released('pre-training')
    clips = torch.randn(2, 3, 8, 16, 16)
    mask = torch.rand(2, 16).argsort(1) >= 4
    visible, masked = (m.nonzero()[:, 1].reshape(2, -1) for m in (~mask, mask))
    with torch.no_grad():
        sample, pred = model.reconstruct(clips, mask)[:2]
        for i in range(2):
            x = published_tokens(w, clips[i : i + 1])
            x = torch.cat([x[:, :1], x[:, 1 + visible[i]]], dim=1)
            x = published_blocks(w, 'blocks', x, 2, 4)
            x = nn.functional.layer_norm(
                x, (32,), w['norm.weight'], w['norm.bias'], eps=1e-6
            )
            x = nn.functional.linear(
                x[:, 1:], w['decoder_embed.weight'], w['decoder_embed.bias']
            )
            full = w['mask_token'].repeat(1, 16, 1)
            full[:, visible[i]] = x
            full = full.reshape(1, STEPS, SIDE**2, 16)
            full = full + w['decoder_pos_embed_temporal'][:, :, None]
            full = full + w['decoder_pos_embed_spatial'][:, None]
            first = w['decoder_cls_token'] + w['decoder_pos_embed_class']
            x = torch.cat([first, full.flatten(1, 2)], dim=1)
            x = published_blocks(w, 'decoder_blocks', x, 1, 2)[:, 1 + masked[i]]
            x = nn.functional.layer_norm(
                x, (16,), w['decoder_norm.weight'], w['decoder_norm.bias'], eps=1e-6
            )
            x = nn.functional.linear(
                x, w['decoder_pred.weight'], w['decoder_pred.bias']
            )
            assert torch.equal(sample.masked_ids[i], masked[i])
            assert_close(pred[i], x[0], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize('kind', ['pre-training', 'classifier', 'encoder'])
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_there_and_back_bit_for_bit(tmp_path, kind, suffix):
    weights = released(kind)
    args = argparse.Namespace(input_size=16, num_frames=8)
    torch.save({'model': weights, 'args': args, 'epoch': 1}, tmp_path / 'a.pth')
    list(convert(tmp_path / 'a.pth', tmp_path / f'b{suffix}'))
    list(convert(tmp_path / f'b{suffix}', tmp_path / f'c{suffix}'))
    told = '\n'.join(
        convert(tmp_path / f'c{suffix}', tmp_path / f'd{suffix}', 'released')
    )
    biases = 3 if kind == 'pre-training' else 2
    assert f'added: {biases} biases of attention keys, zero' in told
    back = read_checkpoint(tmp_path / f'd{suffix}').weights
    assert back.keys() == weights.keys()
    for name, tensor in weights.items():
        same = torch.zeros_like(tensor) if name.endswith('attn.k.bias') else tensor
        assert torch.equal(back[name], same), name


def test_pyslowfast_files(tmp_path):
    """Weights under ``model_state``, the head under another name."""
    weights = {
        name.replace('head.', 'head.projection.'): tensor
        for name, tensor in released('classifier').items()
    }
    torch.save({'model_state': weights, 'epoch': 3}, tmp_path / 'a.pth')
    list(convert(tmp_path / 'a.pth', tmp_path / 'b.pth'))
    found = torch.load(tmp_path / 'b.pth')['state_dict']['cls_head.fc_cls.weight']
    assert torch.equal(found, weights['head.projection.weight'])


def test_sizes_of_the_published_decoder_are_assumed(tmp_path):
    weights = released('pre-training', width=1024, depth=1, decoder_width=512)
    torch.save({'model': weights}, tmp_path / 'a.pth')
    told = '\n'.join(convert(tmp_path / 'a.pth', tmp_path / 'b.pth'))
    assert 'backbone.num_heads=16, decoder.num_heads=16' in told


@pytest.mark.parametrize('kind', ['pre-training', 'classifier', 'encoder'])
@pytest.mark.parametrize('family', ['mmaction', 'transformers'])
def test_others_have_no_such_model(tmp_path, kind, family):
    path, _ = converted(tmp_path, kind)
    with pytest.raises(ValueError, match='has no format for|no place for it'):
        list(convert(path, tmp_path / 'c', family, SAY))
    assert not (tmp_path / 'c').exists()


def test_half_of_the_system_is_not_written_as_the_whole(tmp_path):
    cfg = autoencoder()
    cfg['decoder']['type'] = 'MAEDecoder'
    torch.save(dict(state_dict=MODELS.build(cfg).state_dict()), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='no place for it'):
        list(convert(tmp_path / 'a.pth', tmp_path / 'b.pth', 'released'))


def test_a_part_that_is_missing(tmp_path):
    weights = released('classifier')
    del weights['blocks.1.attn.k.weight']
    torch.save({'model': weights}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'qkv\.weight: a part is missing'):
        list(convert(tmp_path / 'a.pth', tmp_path / 'b.pth'))


# Loading


@pytest.mark.parametrize('kind', ['pre-training', 'encoder'])
def test_fine_tuning_goes_on_from_the_final_norm(tmp_path, messages, kind):
    path, _ = converted(tmp_path, kind)
    checkpoint = torch.load(path)
    weights = dict(checkpoint['state_dict'])
    model = MODELS.build(classifier())
    fit_checkpoint(checkpoint, model, 'train')
    model.load_state_dict(checkpoint['state_dict'], strict=True)
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, weights[f'backbone.{name}']), name
    left = 'decoder' if kind == 'pre-training' else 'nothing'
    assert messages == [
        f'weights of pre-training, left out: {left}; new in the model: cls_head'
    ]


def test_pretrained_encoder(tmp_path):
    path, _ = converted(tmp_path, 'pre-training')
    init_cfg = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    model = MODELS.build(encoder(init_cfg=init_cfg))
    model.init_weights()
    weights = torch.load(path)['state_dict']
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, weights[f'backbone.{name}']), name


def test_positions_of_another_grid_are_interpolated(tmp_path, messages):
    path, _ = converted(tmp_path, 'pre-training')
    checkpoint = torch.load(path)
    before = dict(checkpoint['state_dict'])
    model = MODELS.build(autoencoder(img_size=32, num_frames=16))
    fit_checkpoint(checkpoint, model, 'test')
    model.load_state_dict(checkpoint['state_dict'], strict=True)
    assert 'backbone.pos_embed_temporal: interpolated from 4x1x1 to 8x1x1' in str(
        messages
    )
    assert 'decoder.pos_embed_spatial: interpolated from 1x2x2 to 1x4x4' in str(
        messages
    )
    # Linear over time: places keep their centre.
    old = before['backbone.pos_embed_temporal'][0]
    new = model.backbone.pos_embed_temporal[0]
    assert_close(new[3], 0.75 * old[1] + 0.25 * old[2])
    with pytest.raises(CheckpointMismatch, match='pos_embed_spatial'):
        resumed = {'state_dict': dict(before), 'message_hub': {}}
        fit_checkpoint(resumed, model, 'resume')
