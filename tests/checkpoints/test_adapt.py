"""Checkpoints into models: without a gap, with positions of another grid."""

import logging

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch.testing import assert_close

from projects.adamae.checkpoints import CheckpointMismatch, adapt, adapt_checkpoint
from projects.adamae.checkpoints.convert import convert
from tests.checkpoints.samples import (
    autoencoder,
    classifier,
    converted,
    encoder,
    golden,
    released,
    save,
    separable_autoencoder,
    separable_encoder,
)


@pytest.fixture
def messages(monkeypatch):
    """What loading logs."""
    logged = []

    def log(text, level=logging.INFO):
        logged.append(f'{logging.getLevelName(level)}: {text}')

    monkeypatch.setattr(adapt, '_log', log)
    return logged


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
    close = dict(rtol=1e-4, atol=1e-4 * reference['logits'].abs().max().item())
    assert_close(logits, reference['logits'], **close)


def test_encoder_in_the_stock_model_and_in_ours(pretrained):
    weights = {
        name.removeprefix('backbone.'): tensor
        for name, tensor in torch.load(pretrained)['state_dict'].items()
        if name.startswith('backbone.')
    }
    clips = torch.randn(2, 3, 16, 32, 32).double()
    features = []
    for kind in ('VisionTransformer', 'MaskedVisionTransformer'):
        strict = MODELS.build(encoder(use_mean_pooling=False) | dict(type=kind))
        strict.load_state_dict(weights, strict=True)
        model = MODELS.build(encoder() | dict(type=kind)).eval()
        keys = model.load_state_dict(weights, strict=False)
        assert keys.missing_keys == ['fc_norm.weight', 'fc_norm.bias']
        assert keys.unexpected_keys == ['norm.weight', 'norm.bias']
        with torch.no_grad():
            features.append(model.double()(clips))
    assert_close(*features)


@pytest.mark.parametrize(
    'kind', ['VisionTransformer', 'MaskedVisionTransformer', 'separable']
)
def test_pretrained_encoder(pretrained, messages, tmp_path, kind):
    cfg = encoder() | dict(type=kind)
    if kind == 'separable':
        cfg, pretrained = separable_encoder(), converted(tmp_path, 'pre-training')[0]
    cfg['init_cfg'] = dict(type='Pretrained', checkpoint=pretrained, prefix='backbone.')
    model = MODELS.build(cfg)
    model.init_weights()
    weights = torch.load(pretrained)['state_dict']
    for name, tensor in model.state_dict().items():
        if 'fc_norm' not in name:
            assert torch.equal(tensor, weights[f'backbone.{name}']), name
    expected = 'INFO: weights of pre-training, skipped: norm; new in the model: fc_norm'
    assert messages == [expected] * (kind[0] == 'M')


@pytest.mark.parametrize(
    'kind, prefix, message',
    [
        ('pretrained', 'backbone.', r'missing: blocks\.2\.norm1\.weight, .*26 in all'),
        ('pretrained', 'decoder.', 'unexpected: mask_token'),
        ('finetuned', None, 'unexpected: backbone'),
        ('released', None, 'convert it'),
    ],
)
def test_pretrained_encoder_must_fit(tmp_path, request, kind, prefix, message):
    if kind == 'released':
        path = save(tmp_path / 'a.pth', released('vit_finetune_tiny'))
    else:
        path = request.getfixturevalue(kind)
    init_cfg = dict(type='Pretrained', checkpoint=path, prefix=prefix)
    model = MODELS.build(encoder(init_cfg=init_cfg, depth=4))
    with pytest.raises(CheckpointMismatch, match=message):
        model.init_weights()


def test_positions_keep_their_meaning():
    t, h, w = torch.meshgrid(*map(torch.arange, (4, 6, 6)), indexing='ij')
    table = torch.stack([t, h, w], -1).reshape(1, -1, 3).float()
    assert torch.equal(adapt.resize_positions(table, (4, 6, 6), (4, 6, 6)), table)
    larger = adapt.resize_positions(table, (4, 6, 6), (8, 12, 12))
    larger = larger.reshape(8, 12, 12, 3)
    # Tokens keep their center: i of twice as many lies at (i + 0.5) / 2 - 0.5.
    inner = (torch.arange(4, 8) + 0.5) / 2 - 0.5
    assert_close(larger[2:6, 5, 5, 0], inner - 1)
    for line in (larger[3, 5, 4:8, 2], larger[3, 4:8, 5, 1]):
        assert_close(line, inner, rtol=0, atol=0.05)  # cubic, not linear


@pytest.mark.parametrize(
    'clip, grid, stated',
    [
        (dict(frames=16), (8, 2, 2), False),
        (dict(frames=8, size=64), (4, 4, 4), False),
        (dict(frames=16, size=64), (8, 4, 4), True),
    ],
)
def test_8_frames_become_others(messages, clip, grid, stated):
    small = MODELS.build(autoencoder(frames=8))
    torch.nn.init.normal_(small.sampler.pos_embed)
    state = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    checkpoint = {'state_dict': state}
    if stated:
        cfg = Config(dict(model=autoencoder(frames=8))).pretty_text
        checkpoint['meta'] = {'cfg': cfg}
    model = MODELS.build(autoencoder(**clip))
    adapt_checkpoint(checkpoint, model, 'test')
    model.load_state_dict(state, strict=True)
    for part, text in zip(('backbone', 'sampler'), messages, strict=True):
        sizes = 'x'.join(map(str, grid))
        start = f'INFO: {part}.pos_embed: interpolated from 4x2x2 to {sizes} tokens'
        assert text.startswith(start) and ('guess' in text) == (not stated)
        expected = adapt.resize_positions(
            getattr(small, part).pos_embed, (4, 2, 2), grid
        )
        assert torch.equal(getattr(model, part).pos_embed, expected)


def test_a_table_of_another_width_is_a_mismatch():
    model = MODELS.build(autoencoder())
    for shape in ((1, 8, 16), (8, 32)):
        weights = dict(model.state_dict()) | {'backbone.pos_embed': torch.zeros(shape)}
        with pytest.raises(CheckpointMismatch, match=r'pos_embed \(.*8.* instead of'):
            adapt_checkpoint({'state_dict': weights}, model, 'test')


def test_the_grid_of_an_old_table():
    assert adapt._guess_grid(1568, (4, 14, 14)) == (8, 14, 14)
    assert adapt._guess_grid(1568, (8, 20, 20)) == (8, 14, 14)
    with pytest.raises(CheckpointMismatch, match='state them with'):
        adapt._guess_grid(1568, (5, 10, 10))


# --- through the runner ---


class Clips(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        clips = torch.full((1, 3, 16, 32, 32), index * 60, dtype=torch.uint8)
        sample = ActionDataSample().set_gt_label(index % 2)
        return dict(inputs=clips, data_samples=sample)


def run(work_dir, model, test=False, epochs=1, hooks=(), **kwargs):
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
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
        test_dataloader=loader,
        test_cfg=dict(),
        test_evaluator=dict(type='AccMetric', metric_list=('top_k_accuracy',)),
        custom_hooks=[dict(type='CheckpointCheckHook'), *hooks],
        default_scope='mmaction',
        experiment_name=f'{work_dir}-{len(MMLogger._instance_dict)}',
        cfg=cfg,
        **kwargs,
    )
    runner.test() if test else runner.train()
    return runner


def test_fine_tuning_from_pretraining(tmp_path, pretrained, messages):
    run(tmp_path, classifier(), load_from=pretrained)
    assert messages == [
        'INFO: weights of pre-training, skipped: sampler, decoder, backbone.norm; new '
        'in the model: backbone.fc_norm, cls_head'
    ]


def test_another_number_of_classes(tmp_path, finetuned, messages):
    run(tmp_path, classifier(3), load_from=finetuned)
    (text,) = messages
    assert text.startswith('WARNING: the checkpoint classifies into 5 classes, the mod')
    with pytest.raises(CheckpointMismatch, match=r'fc_cls.weight \(5, 32\) instead of'):
        run(tmp_path, classifier(3), test=True, load_from=finetuned)
    run(tmp_path, classifier(), test=True, load_from=finetuned)


@pytest.mark.parametrize(
    'model, kind, message',
    [
        (
            autoencoder(),
            'finetuned',
            'It has .*depth=None instead of 2.* Use the',
        ),
        (
            classifier(depth=3),
            'pretrained',
            r'missing: backbone\.blocks\.2.* It has',
        ),
        (autoencoder('RandomSamplerHead'), 'pretrained', 'unexpected: sampler.pos_em'),
    ],
)
def test_other_architectures_are_rejected(request, model, kind, message):
    checkpoint = torch.load(request.getfixturevalue(kind))
    before = dict(checkpoint['state_dict'])
    with pytest.raises(CheckpointMismatch, match=message):
        adapt_checkpoint(checkpoint, MODELS.build(model), 'train')
    assert checkpoint['state_dict'] == before


def test_files_that_cannot_be_loaded(tmp_path, finetuned):
    foreign = save(tmp_path / 'a.pth', released('vit_finetune_tiny'))
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
    report = '\n'.join(convert(last, tmp_path / 'released.pth', 'released'))
    assert 'num_heads=4' in report and 'assumed' not in report
    assert ('the raw weights of a run with EMA' in report) == bool(hooks)


# --- SpatiotemporalMAE ---


@pytest.mark.parametrize('kind', ['pre-training', 'encoder'])
def test_fine_tuning_goes_on_from_the_final_norm(tmp_path, messages, kind):
    checkpoint = torch.load(converted(tmp_path, kind)[0])
    before = dict(checkpoint['state_dict'])
    model = MODELS.build(classifier(backbone=separable_encoder()))
    weights = adapt_checkpoint(checkpoint, model, 'train')
    assert weights is checkpoint['state_dict']
    model.load_state_dict(weights, strict=True)
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, before[f'backbone.{name}']), name
    skipped = 'decoder' if kind == 'pre-training' else 'nothing'
    assert messages == [
        f'INFO: weights of pre-training, skipped: {skipped}; new in the model: cls_head'
    ]


def test_separable_positions_of_another_grid_are_interpolated(tmp_path, messages):
    checkpoint = torch.load(converted(tmp_path, 'pre-training')[0])
    before = dict(checkpoint['state_dict'])
    model = MODELS.build(separable_autoencoder(frames=16, size=32))
    model.load_state_dict(adapt_checkpoint(checkpoint, model, 'test'), strict=True)
    grids = (('temporal', '4x1x1', '8x1x1'), ('spatial', '1x2x2', '1x4x4'))
    assert sorted(messages) == sorted(
        f'INFO: {part}.pos_embed_{table}: interpolated from {old} to {new} tokens'
        for part in ('backbone', 'decoder')
        for table, old, new in grids
    )
    # Linear over time: tokens keep their center.
    old = before['backbone.pos_embed_temporal'][0]
    new = model.backbone.pos_embed_temporal[0]
    assert_close(new[3], 0.75 * old[1] + 0.25 * old[2])
    with pytest.raises(CheckpointMismatch, match='pos_embed_spatial'):
        resumed = {'state_dict': dict(before), 'message_hub': {}}
        adapt_checkpoint(resumed, model, 'resume')
    before['backbone.pos_embed_spatial'] = torch.zeros(1, 3, 32)
    with pytest.raises(CheckpointMismatch, match='positions of square frames, got 3'):
        adapt_checkpoint({'state_dict': before}, model, 'test')
