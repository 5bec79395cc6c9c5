"""Checkpoints of other code bases: recognized, converted and back, or rejected."""

import argparse
import re

import pytest
import torch
from mmaction.registry import MODELS

from projects.adamae.checkpoints.convert import convert, read_checkpoint
from projects.adamae.checkpoints.formats import FAMILIES
from projects.adamae.checkpoints.io import read_file
from tests.checkpoints import samples
from tests.checkpoints.samples import (
    CLIP,
    HEADS,
    assert_same,
    released,
    save,
    spatiotemporal,
    stored,
)
from tests.helpers import load_tool, run_tool

CONTENTS = {
    'adamae': lambda: released('adamae_pretrain_tiny'),
    'videomae': samples.videomae,
    'finetuned': lambda: released('vit_finetune_tiny'),
    'learned positions': lambda: (
        released('vit_finetune_tiny') | {'pos_embed': torch.randn(1, 32, 32)}
    ),
    'spatiotemporal pre-training': lambda: spatiotemporal('pre-training'),
    'spatiotemporal fine-tuning': lambda: spatiotemporal('fine-tuning'),
    'spatiotemporal encoder': lambda: spatiotemporal('encoder'),
}


@pytest.mark.parametrize('content', CONTENTS)
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_released_and_back_bit_for_bit(tmp_path, content, suffix):
    weights = CONTENTS[content]()
    overrides = HEADS if 'spatio' in content else HEADS | CLIP
    path = save(tmp_path / 'a.pth', weights)
    convert(path, tmp_path / f'b{suffix}', overrides=overrides)
    convert(tmp_path / f'b{suffix}', tmp_path / f'c{suffix}')
    lines = convert(tmp_path / f'c{suffix}', tmp_path / f'd{suffix}', 'released')
    biases = [name for name in weights if name.endswith('attn.k.bias')]
    added = [line for line in lines if line.startswith('added: ' + ', '.join(biases))]
    assert len(added) == bool(biases)
    expected = weights | {name: torch.zeros_like(weights[name]) for name in biases}
    assert_same(stored(tmp_path / f'd{suffix}'), expected)


@pytest.mark.parametrize('model', ['videomae', 'finetuned'])
def test_transformers_and_back_bit_for_bit(tmp_path, model):
    path = save(tmp_path / 'a.pth', CONTENTS[model]())
    convert(path, tmp_path / 'b.pth', overrides=HEADS | CLIP)
    convert(tmp_path / 'b.pth', tmp_path / 'hf', 'transformers')
    convert(tmp_path / 'hf', tmp_path / 'c.pth')
    assert_same(stored(tmp_path / 'c.pth'), stored(tmp_path / 'b.pth'))
    config = read_file(tmp_path / 'hf')['config.json']
    assert config['num_attention_heads'] == 4 and config['image_size'] == 32
    assert config['use_mean_pooling'] == (model == 'finetuned')


def test_to_mmaction(tmp_path, pretrained, finetuned):
    report = '\n'.join(convert(pretrained, tmp_path / 'a.pth', 'mmaction'))
    assert '(MMAction2 has no masked pre-training)' in report
    assert all(name.startswith('backbone.') for name in stored(tmp_path / 'a.pth'))
    convert(finetuned, tmp_path / 'b.pth', 'mmaction')
    model = samples.classifier()
    model['backbone']['type'] = 'VisionTransformer'
    MODELS.build(model).load_state_dict(stored(tmp_path / 'b.pth'), strict=True)


def test_pyslowfast_files(tmp_path):
    """Weights under ``model_state``, the head under another name."""
    weights = {
        name.replace('head.', 'head.projection.'): tensor
        for name, tensor in spatiotemporal('fine-tuning').items()
    }
    path = save(tmp_path / 'a.pth', weights, 'model_state', epoch=3)
    found = read_checkpoint(path).weights['cls_head.fc_cls.weight']
    assert torch.equal(found, weights['head.projection.weight'])


def test_report(tmp_path):
    weights = released('adamae_pretrain_tiny')
    args = argparse.Namespace(input_size=32, num_frames=16, opt_betas=[0.9, 0.95])
    path = save(
        tmp_path / 'a.pth', weights, optimizer={'state': {}}, args=args, epoch=799
    )
    lines = convert(path, tmp_path / 'b', 'transformers', HEADS)
    found, *model, about, training, sampler, table, wrote = lines
    assert found.startswith('found: pre-training checkpoint of the AdaMAE')
    assert [line.split(':')[0] for line in model] == ['backbone', 'decoder', 'sampler']
    assert 'backbone: patch_size=16, in_channels=3' in model[0]
    assert 'img_size=32' in model[0] and 'num_heads=2' in model[1]
    assert about.startswith('skipped: optimizer, epoch (training state)')
    assert training.startswith('skipped: args (about the training run')
    assert '(14 in all) (the other side has no learned sampler)' in sampler
    assert table.startswith('skipped: backbone.pos_embed (the fixed sin-cos table')
    assert wrote.startswith('wrote: VideoMAEForPreTraining of transformers, ')


def test_what_is_assumed(tmp_path):
    path = save(tmp_path / 'a.pth', released('adamae_pretrain_tiny'))
    clip = {'backbone.num_frames': 16, 'backbone.img_size': 32}
    assert read_checkpoint(path).assumed == clip  # no heads: an unusual width
    assert read_checkpoint(path, CLIP | HEADS).assumed == {}
    weights = spatiotemporal('pre-training', width=1024, depth=1, decoder_width=512)
    path = save(tmp_path / 'a.pth', weights)
    heads = {'backbone.num_heads': 16, 'decoder.num_heads': 16}
    assert read_checkpoint(path).assumed == heads
    path = save(tmp_path / 'a.pth', released('vit_finetune_tiny'))
    checkpoint = read_checkpoint(path)
    assert checkpoint.assumed == {} and 'backbone.pos_embed' not in checkpoint.weights
    assert 'see --set' in checkpoint.skipped['backbone.pos_embed']


@pytest.mark.parametrize(
    'change, message',
    [
        ({'cls_token': torch.zeros(1, 1, 32)}, 'cls_token: not in a fine-tuning'),
        ({'blocks.1.norm1.bias': None}, 'backbone.blocks: weights of block 1 are miss'),
        (
            {'blocks.99999999999.norm1.bias': torch.zeros(32)},
            'of block 2 are missing',
        ),
        ({'norm.bias': torch.full((32,), torch.nan)}, r'norm\.bias: not finite'),
    ],
)
def test_weights_that_are_rejected(tmp_path, change, message):
    weights = released('vit_finetune_tiny') | change
    weights = {name: tensor for name, tensor in weights.items() if tensor is not None}
    with pytest.raises(ValueError, match=rf'a\.pth: .*{message}'):
        read_checkpoint(save(tmp_path / 'a.pth', weights))


def test_weights_of_no_known_kind(tmp_path):
    resnet = {f'layer{i}.0.conv1.weight': torch.zeros(1) for i in range(9)}
    match = r'kind \(9 weights: layer0.0.conv1.weight, layer1.0.*expected a pre-train'
    with pytest.raises(ValueError, match=match):
        read_checkpoint(save(tmp_path / 'a.pth', resnet))


@pytest.mark.parametrize('part', [None, torch.zeros(3, 3), torch.zeros(())])
def test_a_part_that_is_missing_or_does_not_fit(tmp_path, part):
    weights = spatiotemporal('fine-tuning') | {'blocks.1.attn.k.weight': part}
    message = 'its parts do not fit'
    if part is None:
        del weights['blocks.1.attn.k.weight']
        message = 'a part is missing'
    with pytest.raises(ValueError, match=rf'qkv\.weight: {message}'):
        read_checkpoint(save(tmp_path / 'a.pth', weights))


@pytest.mark.parametrize(
    'name, shape',
    [
        ('encoder.patch_embed.proj.weight', (32, 3, 8, 8)),
        ('encoder.patch_embed.proj.weight', (32, 3, 2, 16, 8)),
        ('encoder.patch_embed.proj.weight', (32, 3, 0, 16, 16)),
        ('encoder.patch_embed.proj.bias', (31,)),
        ('encoder.blocks.0.norm1.weight', (31,)),
        ('encoder.blocks.0.mlp.fc1.weight', ()),
        ('encoder.blocks.1.attn.qkv.weight', (32, 32)),
        ('encoder.blocks.1.mlp.fc2.weight', (32, 64)),
        ('encoder.norm.bias', (1,)),
        ('decoder.blocks.1.mlp.fc1.bias', (32,)),
        ('decoder.head.weight', (10, 16)),
        ('encoder_to_decoder.weight', (16, 31)),
        ('encoder_to_decoder.weight', (0, 32)),
        ('encoder.get_token_probs.0.attn.proj.bias', (16,)),
        ('encoder.get_token_probs.1.weight', ()),
        ('encoder.pos_embed_probs', (32,)),
        ('mask_token', (16,)),
        ('pos_embed_spatial', (4, 32)),
        ('decoder_pos_embed_temporal', (1, 4, 15)),
        ('cls_token', (1, 32)),
        ('decoder_embed.bias', (1,)),
    ],
)
def test_shapes_that_do_not_fit_each_other(tmp_path, name, shape):
    contents = released('adamae_pretrain_tiny'), spatiotemporal('pre-training')
    weights = next(weights for weights in contents if name in weights)
    assert weights[name].shape != shape
    path = save(tmp_path / 'a.pth', weights | {name: torch.zeros(shape)})
    with pytest.raises(ValueError, match=r'a\.pth: \w+\S+: expected .*got '):
        read_checkpoint(path)


def test_odd_sizes_pass(tmp_path):
    """Also where width times ratio would be rounded down, and without a decoder."""
    for width, hidden in ((49, 1), (48, 80)):
        cfg = samples.encoder(embed_dims=width, num_heads=1, init_values=1e-5)
        cfg |= dict(mlp_ratio=(hidden + 0.5) / width, qkv_bias=False)
        weights = MODELS.build(samples.classifier(backbone=cfg)).state_dict()
        weights['cls_head.fc_cls.weight'] = torch.zeros(5, width)
        read_checkpoint(save(tmp_path / 'a.pth', weights))
    cfg = samples.autoencoder()
    cfg['decoder']['depth'] = cfg['sampler']['depth'] = 0
    read_checkpoint(save(tmp_path / 'a.pth', MODELS.build(cfg).state_dict()))


def test_contradictions_and_gaps_are_errors(tmp_path, finetuned):
    with pytest.raises(ValueError, match='positions for 8x4x4 tokens'):
        read_checkpoint(finetuned, {'backbone.img_size': 64})
    path = save(tmp_path / 'a.pth', CONTENTS['finetuned']())
    convert(path, tmp_path / 'ours.pth')  # tells no more than what it was made of
    assert read_checkpoint(tmp_path / 'ours.pth').arch == read_checkpoint(path).arch
    match = 'needs backbone.img_size, backbone.num_frames.* with --set'
    with pytest.raises(ValueError, match=match):
        convert(path, tmp_path / 'b', 'transformers')
    path = save(tmp_path / 'a.pth', CONTENTS['learned positions']())
    with pytest.raises(ValueError, match='backbone.pos_embed: no place for it'):
        convert(path, tmp_path / 'b', 'transformers', HEADS | CLIP)
    assert not (tmp_path / 'b').exists()


@pytest.mark.parametrize('kind', ['pre-training', 'fine-tuning', 'encoder'])
@pytest.mark.parametrize('family', ['mmaction', 'transformers'])
def test_others_have_no_spatiotemporal_model(tmp_path, kind, family):
    path = save(tmp_path / 'a.pth', spatiotemporal(kind))
    with pytest.raises(ValueError, match='has no format for|no place for it'):
        convert(path, tmp_path / 'c', family, HEADS)
    assert not (tmp_path / 'c').exists()


def test_half_of_the_system_is_not_written_as_the_whole(tmp_path):
    cfg = samples.separable_autoencoder()
    cfg['decoder']['type'] = 'MAEDecoder'
    path = save(tmp_path / 'a.pth', MODELS.build(cfg).state_dict())
    with pytest.raises(ValueError, match='no place for it'):
        read_checkpoint(path).to('released')


@pytest.mark.parametrize('override', [{'num_heads': 12}, {'backbone.num_heads': '12'}])
def test_wrong_overrides(finetuned, override):
    with pytest.raises(ValueError, match='^overrides: expected keys backbone.img_size'):
        read_checkpoint(finetuned, override)


def test_the_tool(tmp_path, finetuned, capsys):
    assert set(load_tool('convert_checkpoint').FAMILIES) == set(FAMILIES)
    arguments = (finetuned, tmp_path / 'hf', '--to', 'transformers')
    run_tool('convert_checkpoint', *arguments)
    *_, wrote = capsys.readouterr().out.splitlines()
    assert wrote.startswith('wrote: VideoMAEForVideoClassification')
    run_tool('convert_checkpoint', *arguments, '--force')
    (tmp_path / 'file').write_bytes(b'')
    capsys.readouterr()
    to_file = ('--to=transformers', '--force')
    for dst, options, message in (
        ('hf', (), 'hf exists: choose another name, or use --force'),
        ('hf', ('--set', 'num_heads=12'), 'a key of backbone.img_size, backbone.num'),
        ('hf', ('--set', 'foo'), "expected KEY=VALUE .* got 'foo'"),
        ('hf', ('--set', 'backbone.num_frames=abc'), "a whole number .* got 'abc'"),
        ('hf', ('--set', 'backbone.num_frames=-1'), "a whole number .* got '-1'"),
        ('hf', ('--set', 'backbone.norm_cfg=1'), "expected {'type':'LN'.* got '1'"),
        ('hf', ('--force',), 'expected a file for ours, got a folder'),
        ('file', to_file, 'expected a folder for transformers, got a file'),
    ):
        with pytest.raises(SystemExit) as info:
            run_tool('convert_checkpoint', finetuned, tmp_path / dst, *options)
        assert info.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert re.search(f'^error: .*{message}', line), line
