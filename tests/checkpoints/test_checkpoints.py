"""Checkpoints: recognised, converted, refused, and loaded without a gap."""

import argparse
import json
import logging
import os
import runpy

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.testing import assert_close

from projects.adamae.checkpoints import CheckpointMismatch, loading
from projects.adamae.checkpoints.convert import convert
from projects.adamae.checkpoints.files import load_safely, read_checkpoint
from projects.adamae.checkpoints.formats import FAMILIES
from tests.helpers import DATA, ROOT

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
SAY = {'backbone.num_heads': 4, 'decoder.num_heads': 2}
CLIP = {'backbone.num_frames': 16, 'backbone.img_size': 32}


def golden(name):
    with np.load(DATA / f'{name}.npz') as archive:
        return {key: torch.from_numpy(archive[key]) for key in archive if key != 'cfg'}


def released(name):
    """The weights of a golden file under the authors' names."""
    return {k[2:]: v for k, v in golden(name).items() if k.startswith('w/')}


def preprocessor(**kwargs):
    return dict(mean=MEAN, std=STD, format_shape='NCTHW', **kwargs)


def encoder(frames=16, size=32, **kwargs):
    cfg = dict(img_size=size, num_frames=frames, embed_dims=32, depth=2, num_heads=4)
    return dict(type='MaskedVisionTransformer', **cfg, **kwargs)


def classifier(num_classes=5, **kwargs):
    return dict(
        type='Recognizer3D',
        backbone=encoder(**kwargs),
        cls_head=dict(type='TimeSformerHead', num_classes=num_classes, in_channels=32),
        data_preprocessor=dict(type='ActionDataPreprocessor', **preprocessor()),
    )


def autoencoder(sampler='AdaptiveSamplerHead', **kwargs):
    return dict(
        type='MAERecognizer',
        backbone=encoder(**kwargs),
        sampler=dict(type=sampler, mask_ratio=0.75),
        decoder=dict(type='MAEDecoder', embed_dims=16, depth=2, num_heads=2),
        data_preprocessor=dict(type='AdaMAEDataPreprocessor', **preprocessor()),
    )


@pytest.fixture(scope='module', autouse=True)
def scope():
    init_default_scope('mmaction')


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory):
    """The golden pre-training checkpoint, converted."""
    folder = tmp_path_factory.mktemp('pretrained')
    torch.save({'model': released('adamae_pretrain_tiny')}, folder / 'released.pth')
    list(convert(folder / 'released.pth', folder / 'ours.pth', say=SAY))
    return str(folder / 'ours.pth')


@pytest.fixture(scope='module')
def finetuned(tmp_path_factory):
    """The golden fine-tuning checkpoint, converted."""
    folder = tmp_path_factory.mktemp('finetuned')
    torch.save({'module': released('vit_finetune_tiny')}, folder / 'released.pth')
    list(convert(folder / 'released.pth', folder / 'ours.pth', say=SAY | CLIP))
    return str(folder / 'ours.pth')


@pytest.fixture
def messages(monkeypatch):
    """What loading says, as (level, text)."""
    said = []
    monkeypatch.setattr(
        loading, '_log', lambda text, level=logging.INFO: said.append((level, text))
    )
    return said


def test_logits_of_the_released_fine_tuned_model(finetuned):
    model = MODELS.build(classifier()).eval()
    model.load_state_dict(torch.load(finetuned)['state_dict'], strict=True)
    reference = golden('vit_finetune_tiny')
    data = model.data_preprocessor(
        dict(inputs=list(reference['input_uint8'].unsqueeze(1)), data_samples=[])
    )
    with torch.no_grad():
        feats, _ = model.extract_feat(data['inputs'])
        logits = model.cls_head(feats)
    assert_close(logits, reference['logits'], rtol=1e-5, atol=1e-5)


def without_sampler(weights):
    return {
        name: tensor
        for name, tensor in weights.items()
        if 'token_probs' not in name and 'pos_embed_probs' not in name
    }


CONTENTS = {
    'adamae': lambda: released('adamae_pretrain_tiny'),
    'videomae': lambda: without_sampler(released('adamae_pretrain_tiny')),
    'finetuned': lambda: released('vit_finetune_tiny'),
    'learnt positions': lambda: (
        released('vit_finetune_tiny') | {'pos_embed': torch.randn(1, 32, 32)}
    ),
}


@pytest.mark.parametrize('content', CONTENTS)
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_released_and_back_bit_for_bit(tmp_path, content, suffix):
    weights = CONTENTS[content]()
    torch.save({'model': weights}, tmp_path / 'a.pth')
    list(convert(tmp_path / 'a.pth', tmp_path / f'b{suffix}', say=SAY | CLIP))
    list(convert(tmp_path / f'b{suffix}', tmp_path / f'c{suffix}', 'released'))
    back = read_checkpoint(tmp_path / f'c{suffix}').weights
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


@pytest.mark.parametrize('model', ['videomae', 'finetuned'])
def test_transformers_and_back_bit_for_bit(tmp_path, model):
    torch.save({'model': CONTENTS[model]()}, tmp_path / 'a.pth')
    list(convert(tmp_path / 'a.pth', tmp_path / 'b.pth', say=SAY | CLIP))
    list(convert(tmp_path / 'b.pth', tmp_path / 'hf', 'transformers'))
    list(convert(tmp_path / 'hf', tmp_path / 'c.pth'))
    ours, back = (torch.load(tmp_path / f'{name}.pth')['state_dict'] for name in 'bc')
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[name], ours[name]) for name in ours)
    config = json.loads((tmp_path / 'hf/config.json').read_text())
    assert config['num_attention_heads'] == 4 and config['image_size'] == 32


def test_what_it_tells(tmp_path):
    content = {
        'model': released('adamae_pretrain_tiny'),
        'optimizer': {'state': {}},
        'args': argparse.Namespace(input_size=32, num_frames=16, opt_betas=[0.9, 0.95]),
        'epoch': 799,
    }
    torch.save(content, tmp_path / 'a.pth')
    told = '\n'.join(convert(tmp_path / 'a.pth', tmp_path / 'b', 'transformers', SAY))
    assert 'found: pre-training checkpoint of the AdaMAE' in told
    assert 'clips of 16x32x32, grid 8x2x2, decoder 16 wide, 2 deep' in told
    assert 'left out: optimizer (training state)' in told
    assert 'left out: 14 weights of sampler (the other side has no learnt' in told
    assert 'assumed' not in told
    torch.save({'model': content['model']}, tmp_path / 'a.pth')
    told = '\n'.join(convert(tmp_path / 'a.pth', tmp_path / 'c.pth'))
    assert 'assumed: backbone.num_frames=16, backbone.img_size=32' in told
    assert 'heads' not in told


def test_to_mmaction(tmp_path, pretrained, finetuned):
    told = '\n'.join(convert(pretrained, tmp_path / 'a.pth', 'mmaction'))
    assert 'decoder (MMAction2 has no masked pre-training)' in told
    weights = torch.load(tmp_path / 'a.pth')['state_dict']
    assert all(name.startswith('backbone.') for name in weights)
    list(convert(finetuned, tmp_path / 'b.pth', 'mmaction'))
    model = classifier()
    model['backbone']['type'] = 'VisionTransformer'
    weights = torch.load(tmp_path / 'b.pth')['state_dict']
    MODELS.build(model).load_state_dict(weights, strict=True)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize('legacy', [False, True])
def test_code_is_refused_and_not_run(tmp_path, legacy):
    weights = released('vit_finetune_tiny')
    content = {'model': weights, 'args': argparse.Namespace(x=Evil(tmp_path / 'evil'))}
    torch.save(content, tmp_path / 'a.pth', _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r'refused, it asks to run \w+\.mkdir'):
        list(convert(tmp_path / 'a.pth', tmp_path / 'b.pth'))
    assert not (tmp_path / 'evil').exists() and not (tmp_path / 'b.pth').exists()


def test_a_namespace_is_allowed_only_here(tmp_path):
    torch.save(argparse.Namespace(lr=1.0), tmp_path / 'a.pth')
    assert load_safely(tmp_path / 'a.pth').lr == 1.0
    with pytest.raises(Exception, match='Namespace'):
        torch.load(tmp_path / 'a.pth')


def test_damaged_files(tmp_path):
    torch.save({'model': released('vit_finetune_tiny')}, tmp_path / 'whole.pth')
    whole = (tmp_path / 'whole.pth').read_bytes()
    files = {
        'half.pth': whole[: len(whole) // 2],
        'empty.pth': b'',
        'text.pth': b'<html>not found</html>',
        'text.safetensors': b'<html>not found</html>',
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f'{name}: damaged, |{name}: damaged or'):
            list(convert(tmp_path / name, tmp_path / 'out.pth'))
    with pytest.raises(FileNotFoundError, match='checkpoint not found'):
        list(convert(tmp_path / 'none.pth', tmp_path / 'out.pth'))
    assert not (tmp_path / 'out.pth').exists()


@pytest.mark.parametrize('legacy', [False, True])
def test_a_file_cut_anywhere_is_an_error(tmp_path, legacy):
    content = {'state_dict': {'a': torch.zeros(50), 'b': torch.ones(3, 3)}}
    torch.save(content, tmp_path / 'a', _use_new_zipfile_serialization=not legacy)
    whole = (tmp_path / 'a').read_bytes()
    for length in range(len(whole)):
        (tmp_path / 'b').write_bytes(whole[:length])
        # Of a name of torch's that is cut one may ask to run the rest.
        with pytest.raises(ValueError, match='b: (damaged, a part|refused)') as info:
            load_safely(tmp_path / 'b')
        assert 'weights_only' not in str(info.value)


def save(path, weights):
    torch.save({'model': weights}, path)
    return path


def test_unknown_weights(tmp_path):
    def error(weights):
        with pytest.raises(ValueError) as info:
            list(convert(save(tmp_path / 'a.pth', weights), tmp_path / 'b.pth'))
        return str(info.value)

    weights = released('vit_finetune_tiny')
    resnet = {f'layer{i}.0.conv1.weight': torch.zeros(1) for i in range(9)}
    assert 'layer0.0.conv1.weight, layer1.0' in error(resnet)
    assert 'not a checkpoint of a known kind (9 weights' in error(resnet)
    assert 'cls_token: not in a fine-tuning' in error(
        weights | {'cls_token': torch.zeros(1, 1, 32)}
    )
    assert 'backbone.blocks: weights of block 1 are missing' in error(
        {k: v for k, v in weights.items() if k != 'blocks.1.norm1.bias'}
    )
    torch.save({'epoch': 3}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='no weights in it, only epoch'):
        list(convert(tmp_path / 'a.pth', tmp_path / 'b.pth'))
    assert 'no weights in it, only model' in error({3: torch.zeros(1)})
    assert 'not finite' in error(weights | {'norm.bias': torch.full((32,), torch.nan)})


@pytest.mark.parametrize(
    'name, shape',
    [
        ('encoder.patch_embed.proj.weight', (32, 3, 8, 8)),
        ('encoder.patch_embed.proj.bias', (31,)),
        ('encoder.blocks.0.norm1.weight', (31,)),
        ('encoder.blocks.1.attn.qkv.weight', (32, 32)),
        ('encoder.blocks.1.mlp.fc2.weight', (32, 64)),
        ('encoder.norm.bias', (1,)),
        ('decoder.blocks.1.mlp.fc1.bias', (32,)),
        ('decoder.head.weight', (10, 16)),
        ('encoder_to_decoder.weight', (16, 31)),
        ('encoder.get_token_probs.0.attn.proj.bias', (16,)),
        ('encoder.pos_embed_probs', (32,)),
        ('mask_token', (16,)),
    ],
)
def test_shapes_that_do_not_fit_each_other(tmp_path, name, shape):
    weights = released('adamae_pretrain_tiny')
    assert weights[name].shape != shape
    path = save(tmp_path / 'a.pth', weights | {name: torch.zeros(shape)})
    with pytest.raises(ValueError, match=r'a\.pth: \w+\S+: expected .*got '):
        list(convert(path, tmp_path / 'b.pth'))


def test_weights_of_a_wrapped_model(tmp_path):
    weights = released('vit_finetune_tiny')
    wrapped = {f'module.{name}': tensor for name, tensor in weights.items()}
    for name, content in (('a', weights), ('b', wrapped)):
        path = save(tmp_path / f'{name}.pth', content)
        list(convert(path, tmp_path / f'{name}_ours.pth'))
    a, b = (read_checkpoint(tmp_path / f'{name}_ours.pth').weights for name in 'ab')
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_contradictions_and_gaps_are_errors(tmp_path, finetuned):
    with pytest.raises(ValueError, match='positions for 8x4x4 tokens'):
        list(convert(finetuned, tmp_path / 'b', say={'backbone.img_size': 64}))
    unsaid = save(tmp_path / 'a.pth', released('vit_finetune_tiny'))
    with pytest.raises(
        ValueError, match='needs backbone.img_size, backbone.num_frames'
    ):
        list(convert(unsaid, tmp_path / 'b', 'transformers'))
    learnt = save(tmp_path / 'c.pth', CONTENTS['learnt positions']())
    with pytest.raises(ValueError, match='backbone.pos_embed: no place for it'):
        list(convert(learnt, tmp_path / 'b', 'transformers', SAY | CLIP))
    with pytest.raises(FileExistsError, match='use --force'):
        list(convert(learnt, finetuned))


def test_the_tool(tmp_path, finetuned, monkeypatch, capsys):
    tool = ROOT / 'tools/convert_checkpoint.py'
    argv = [str(tool), finetuned, str(tmp_path / 'hf'), '--to', 'transformers']
    monkeypatch.setattr('sys.argv', argv)
    main = runpy.run_path(str(tool))
    assert set(main['FAMILIES']) == set(FAMILIES)
    main['main']()
    assert 'wrote: VideoMAEForVideoClassification' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='error: .* exists: choose another name'):
        main['main']()
    monkeypatch.setattr('sys.argv', [*argv, '--force', '--say', 'num_heads=12'])
    with pytest.raises(SystemExit, match='expected backbone.img_size, backbone.num'):
        main['main']()
    monkeypatch.setattr('sys.argv', [*argv, '--force'])
    main['main']()
    for words, message in (
        (['--say', 'foo'], "expected KEY=VALUE with a number.*got 'foo'"),
        (['--say', 'backbone.num_frames=abc'], 'expected KEY=VALUE with a number'),
        (['--say', 'backbone.num_frames=-1'], 'expected a whole number, got -1'),
        (['--say', 'backbone.norm_cfg=1'], "expected {'type':'LN'"),
        (['--to', 'ours'], 'expected a file for ours, got a folder'),
    ):
        monkeypatch.setattr('sys.argv', [*argv, '--force', *words])
        with pytest.raises(SystemExit, match=f'error: .*{message}'):
            main['main']()
    (tmp_path / 'file').write_bytes(b'')
    argv[2] = str(tmp_path / 'file')
    monkeypatch.setattr('sys.argv', [*argv, '--force'])
    with pytest.raises(SystemExit, match='expected a folder for transformers, got a f'):
        main['main']()


# --- loading ---


def test_encoder_in_the_stock_model_and_in_ours(pretrained):
    weights = torch.load(pretrained)['state_dict']
    weights = {
        name.removeprefix('backbone.'): tensor
        for name, tensor in weights.items()
        if name.startswith('backbone.')
    }
    torch.manual_seed(0)
    clips = torch.randn(2, 3, 16, 32, 32)
    features = []
    for kind in ('VisionTransformer', 'MaskedVisionTransformer'):
        strict = MODELS.build(encoder(use_mean_pooling=False) | dict(type=kind))
        strict.load_state_dict(weights, strict=True)
        model = MODELS.build(encoder() | dict(type=kind)).eval()
        keys = model.load_state_dict(weights, strict=False)
        assert keys.missing_keys == ['fc_norm.weight', 'fc_norm.bias']
        assert keys.unexpected_keys == ['norm.weight', 'norm.bias']
        with torch.no_grad():
            features.append(model(clips))
    assert_close(*features, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('kind', ['VisionTransformer', 'MaskedVisionTransformer'])
def test_pretrained_encoder(pretrained, messages, kind):
    init_cfg = dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.')
    model = MODELS.build(encoder(init_cfg=init_cfg) | dict(type=kind))
    model.init_weights()
    weights = torch.load(pretrained)['state_dict']
    for name, tensor in model.state_dict().items():
        if 'fc_norm' not in name:
            assert torch.equal(tensor, weights[f'backbone.{name}']), name
    if kind == 'MaskedVisionTransformer':
        assert messages == [
            (
                logging.INFO,
                'weights of pre-training, left out: norm; new in the model: fc_norm',
            )
        ]


def test_pretrained_encoder_must_fit(pretrained, finetuned, tmp_path):
    for checkpoint, prefix, message in (
        (
            pretrained,
            'backbone.',
            r'missing: blocks\.2\.norm1\.weight, .* \(26 in all\)',
        ),
        (pretrained, 'decoder.', 'unexpected: mask_token'),
        (finetuned, None, 'unexpected: backbone'),
        (
            save(str(tmp_path / 'a.pth'), released('vit_finetune_tiny')),
            None,
            'convert it',
        ),
    ):
        init_cfg = dict(type='Pretrained', checkpoint=checkpoint, prefix=prefix)
        model = MODELS.build(encoder(init_cfg=init_cfg) | dict(depth=4))
        with pytest.raises(CheckpointMismatch, match=message):
            model.init_weights()


def test_positions_keep_their_meaning():
    t, h, w = torch.meshgrid(*map(torch.arange, (4, 6, 6)), indexing='ij')
    table = torch.stack([t, h, w], -1).reshape(1, -1, 3).float()
    assert torch.equal(loading.resize_positions(table, (4, 6, 6), (4, 6, 6)), table)
    larger = loading.resize_positions(table, (4, 6, 6), (8, 12, 12)).reshape(
        8, 12, 12, 3
    )
    # Places keep their centre: i of twice as many lies at (i + 0.5) / 2 - 0.5.
    inner = (torch.arange(4, 8) + 0.5) / 2 - 0.5
    assert_close(larger[2:6, 5, 5, 0], inner - 1)
    for line in (larger[3, 5, 4:8, 2], larger[3, 4:8, 5, 1]):
        assert_close(line, inner, rtol=0, atol=0.05)  # cubic, not linear


@pytest.mark.parametrize(
    'clip, grid, told',
    [
        (dict(frames=16), (8, 2, 2), False),
        (dict(frames=8, size=64), (4, 4, 4), False),
        (dict(frames=16, size=64), (8, 4, 4), True),
    ],
)
def test_8_frames_become_others(messages, clip, grid, told):
    small = MODELS.build(autoencoder(frames=8))
    torch.nn.init.normal_(small.sampler.pos_embed)
    state = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    checkpoint = {'state_dict': state}
    if told:
        cfg = Config(dict(model=autoencoder(frames=8))).pretty_text
        checkpoint['meta'] = {'cfg': cfg}
    model = MODELS.build(autoencoder(**clip))
    loading.fit_checkpoint(checkpoint, model, 'test')
    model.load_state_dict(state, strict=True)
    for part, (_, text) in zip(('backbone', 'sampler'), messages, strict=True):
        sizes = 'x'.join(map(str, grid))
        start = f'{part}.pos_embed: interpolated from 4x2x2 to {sizes} tokens'
        assert text.startswith(start) and ('guess' in text) == (not told)
        expected = loading.resize_positions(
            getattr(small, part).pos_embed, (4, 2, 2), grid
        )
        assert torch.equal(getattr(model, part).pos_embed, expected)


def test_the_grid_of_an_old_table(messages):
    assert loading._guess(1568, (4, 14, 14)) == (8, 14, 14)
    assert loading._guess(1568, (8, 20, 20)) == (8, 14, 14)
    with pytest.raises(CheckpointMismatch, match='state them with'):
        loading._guess(1568, (5, 10, 10))


# --- through the runner ---


class Clips(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        clips = torch.full((1, 3, 16, 32, 32), index * 60, dtype=torch.uint8)
        return dict(
            inputs=clips, data_samples=ActionDataSample().set_gt_label(index % 2)
        )


def run(work_dir, model, test=False, **kwargs):
    loader = dict(
        batch_size=2,
        dataset=Clips(),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='pseudo_collate'),
    )
    cfg = Config(dict(model=model, work_dir=str(work_dir)))
    runner = Runner(
        model=cfg.model,
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=kwargs.pop('epochs', 1)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
        test_dataloader=loader,
        test_cfg=dict(),
        test_evaluator=dict(type='AccMetric', metric_list=('top_k_accuracy',)),
        custom_hooks=[
            dict(type='CheckpointCheckHook'),
            *kwargs.pop('hooks', ()),
        ],
        default_scope='mmaction',
        experiment_name=f'{work_dir}-{len(MMLogger._instance_dict)}',
        cfg=cfg,
        **kwargs,
    )
    if test:
        runner.test()
    else:
        runner.train()
    return runner


def test_fine_tuning_from_pretraining(tmp_path, pretrained, messages):
    run(tmp_path, classifier(), load_from=pretrained)
    assert messages == [
        (
            logging.INFO,
            'weights of pre-training, left out: sampler, decoder, backbone.norm; new '
            'in the model: backbone.fc_norm, cls_head',
        )
    ]


def test_another_number_of_classes(tmp_path, finetuned, messages):
    run(tmp_path, classifier(3), load_from=finetuned)
    ((level, text),) = messages
    assert level == logging.WARNING
    assert text.startswith('the checkpoint classifies into 5 classes, the model into 3')
    with pytest.raises(CheckpointMismatch, match=r'fc_cls.weight \(5, 32\) instead of'):
        run(tmp_path, classifier(3), test=True, load_from=finetuned)
    run(tmp_path, classifier(), test=True, load_from=finetuned)


def test_other_architectures_are_refused(tmp_path, pretrained, finetuned):
    cases = (
        (
            autoencoder(),
            finetuned,
            'Expected a ViT .* 2 deep; got a ViT .* 5 classes. Use',
        ),
        (
            classifier() | dict(backbone=encoder() | dict(depth=3)),
            pretrained,
            'missing',
        ),
        (autoencoder('RandomSamplerHead'), pretrained, 'unexpected: sampler.pos_embed'),
    )
    for model, checkpoint, message in cases:
        with pytest.raises(CheckpointMismatch, match=message):
            run(tmp_path, model, load_from=checkpoint)
    foreign = str(save(tmp_path / 'a.pth', released('vit_finetune_tiny')))
    with pytest.raises(CheckpointMismatch, match='convert it with tools/convert'):
        run(tmp_path, classifier(), load_from=foreign)
    with pytest.raises(CheckpointMismatch, match='no training state'):
        run(tmp_path, classifier(), load_from=finetuned, resume=True)


@pytest.mark.parametrize('hooks', [(), (dict(type='EMAHook', momentum=0.5),)])
def test_resume_test_and_convert_what_was_trained(tmp_path, finetuned, hooks):
    run(tmp_path, classifier(3), load_from=finetuned, hooks=hooks)
    last = str(tmp_path / 'epoch_1.pth')
    runner = run(tmp_path, classifier(3), resume=True, epochs=2, hooks=hooks)
    assert runner.epoch == 2
    runner = run(tmp_path, classifier(3), test=True, load_from=last, hooks=hooks)
    saved = torch.load(last)['state_dict']
    for name, tensor in runner.model.state_dict().items():
        assert torch.equal(tensor, saved[name]), name
    with pytest.raises(CheckpointMismatch, match=r'instead of \(4, 32\)'):
        run(tmp_path, classifier(4), resume=True, load_from=last, epochs=2, hooks=hooks)
    told = '\n'.join(convert(last, tmp_path / 'released.pth', 'released'))
    assert 'width 32, depth 2, 4 heads' in told and 'assumed' not in told
    assert ('the raw weights of a run with EMA' in told) == bool(hooks)
