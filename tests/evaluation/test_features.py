"""Features of real files, through the package and the tools."""

import random
import runpy
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from safetensors.numpy import load_file
from torch.testing import assert_close

from projects.adamae.apis.models import load_model
from projects.adamae.checkpoints import adapt_checkpoint
from projects.adamae.checkpoints.loading import resize_positions
from projects.adamae.datasets import from_config
from projects.adamae.engine.hooks.training_state import preserve_training_state
from projects.adamae.evaluation import features
from tests.helpers import ROOT, tiny_model_cfg, write_videos

COUNT = 5


def recognizer_cfg():
    cfg = tiny_model_cfg()
    return dict(
        type='Recognizer3D',
        backbone=cfg['backbone'],
        cls_head=dict(type='TimeSformerHead', num_classes=2, in_channels=16),
        data_preprocessor={
            **cfg['data_preprocessor'],
            'type': 'ActionDataPreprocessor',
            'format_shape': 'NCTHW',
        },
    )


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('features')
    lines = write_videos(root / 'videos', COUNT)
    (root / 'train.txt').write_text('\n'.join(lines))
    (root / 'val.txt').write_text('\n'.join(lines[:3]))
    return root


@pytest.fixture
def cfg(root):
    """A training set that draws at random, and a validation set."""

    def pipeline(*frames):
        return [
            dict(type='DecordInit'),
            *frames,
            dict(type='DecordDecode'),
            dict(type='Resize', scale=(16, 16), keep_ratio=False),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs'),
        ]

    def loader(split, pipeline, **more):
        return dict(
            batch_size=2,
            num_workers=0,
            dataset=dict(
                type='VideoDataset',
                ann_file=str(root / f'{split}.txt'),
                data_prefix=dict(video=str(root / 'videos')),
                pipeline=pipeline,
                **more,
            ),
        )

    frames = dict(type='SampleFrames', clip_len=8)
    return Config(
        dict(
            model=tiny_model_cfg(),
            train_dataloader=loader('train', pipeline(frames, dict(type='Nowhere'))),
            val_dataloader=loader('val', pipeline({**frames, 'test_mode': True})),
        )
    )


def save(cfg, path):
    torch.manual_seed(1)
    model = MODELS.build(cfg.model)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)  # norms, too
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


def clips_of(cfg, split='train'):
    """Normalised clips, read one by one."""
    dataset = from_config.build_dataset(
        cfg, split, MODELS.build(cfg.model).backbone.clip_size
    )
    x = torch.cat([dataset[i]['inputs'] for i in range(len(dataset))]).float()
    statistics = tiny_model_cfg()['data_preprocessor']
    mean, std = (
        torch.tensor(statistics[k]).reshape(3, 1, 1, 1) for k in ('mean', 'std')
    )
    return (x - mean) / std


def run(monkeypatch, tool, *argv):
    tool = str(ROOT / 'tools' / tool)
    monkeypatch.setattr(sys, 'argv', [tool, *map(str, argv)])
    runpy.run_path(tool, run_name='__main__')


@pytest.mark.parametrize('num_workers', [0, 3])
@pytest.mark.parametrize('batch_size', [1, 2, 8])
def test_pretrained_encoder(cfg, tmp_path, batch_size, num_workers):
    """Every video once, in order, whatever reads it: encode(all tokens).mean(1)."""
    model = load_model(cfg, save(cfg, tmp_path / 'a.pth'))
    assert not model.training
    dataset = from_config.build_dataset(cfg, 'train', model.backbone.clip_size)
    got = features.extract(model, dataset, batch_size, num_workers)
    with torch.no_grad():
        tokens = model.backbone.encode(model.backbone.embed(clips_of(cfg)))
    assert_close(got, tokens.mean(1))
    assert len(got.unique(dim=0)) == COUNT
    grid = torch.cat([*features.iter_features(model, dataset, batch_size, tokens=True)])
    assert_close(grid, tokens.reshape(COUNT, 4, 2, 2, 16))
    names, labels = from_config.names_and_labels(dataset)
    assert [Path(name).name for name in names] == [f'{i}.mp4' for i in range(COUNT)]
    assert labels.tolist() == [0, 1, 0, 1, 0] and labels.dtype == np.int64


def test_fine_tuned_encoder(cfg, tmp_path):
    """The vector is what the classifier sees."""
    cfg.model = recognizer_cfg()
    model = load_model(cfg, save(cfg, tmp_path / 'a.pth'))
    dataset = from_config.build_dataset(cfg, 'val', model.backbone.clip_size)
    with torch.no_grad():
        assert_close(
            features.extract(model, dataset, 2), model.backbone(clips_of(cfg, 'val'))
        )


def test_views_of_a_video_are_averaged(cfg, tmp_path):
    for model_cfg in (tiny_model_cfg(), recognizer_cfg()):
        cfg.model = model_cfg
        cfg.val_dataloader.dataset.pipeline[1].num_clips = 3
        model = load_model(cfg, save(cfg, tmp_path / 'a.pth'))
        dataset = from_config.build_dataset(cfg, 'val', model.backbone.clip_size)
        clips = clips_of(cfg, 'val')
        assert len(clips) == 9
        each = features.encode(model, clips)
        got = features.extract(model, dataset, 2)
        assert_close(got, each.reshape(3, 3, -1).mean(1))
        with pytest.raises(ValueError, match='expected one clip a video .*, got 3'):
            next(features.iter_features(model, dataset, 2, tokens=True))


@pytest.mark.parametrize('kind', ['', 'Separable'])
def test_probe_sees_the_same_and_trains_its_head_only(cfg, tmp_path, kind):
    if kind:
        cfg.model.backbone.update(
            type='SeparableVisionTransformer', use_mean_pooling=False
        )
    checkpoint = save(cfg, tmp_path / 'a.pth')
    model = load_model(cfg, checkpoint)
    probe_cfg = recognizer_cfg()
    kind = f'Frozen{kind}VisionTransformer'
    probe_cfg['backbone'] |= dict(type=kind, drop_path_rate=0.5)
    probe_cfg['cls_head']['type'] = 'LinearProbeHead'
    probe = MODELS.build(probe_cfg).train()
    content = dict(state_dict=model.state_dict())
    adapt_checkpoint(content, probe, 'train')
    probe.load_state_dict(content['state_dict'])
    x = clips_of(cfg)
    vectors = features.encode(model, x)
    assert_close(probe.backbone(x), vectors)
    probe(x[:, None], None, mode='tensor', stage='head').sum().backward()
    trained = [name for name, p in probe.named_parameters() if p.grad is not None]
    assert trained == ['cls_head.fc_cls.weight', 'cls_head.fc_cls.bias']
    assert not any(m.training for m in probe.backbone.modules())
    standard = (vectors - vectors.mean(0)) / (
        vectors.var(0, correction=0) + 1e-6
    ).sqrt()
    assert_close(
        probe.cls_head(vectors), probe.cls_head.fc_cls(standard), rtol=1e-3, atol=1e-4
    )


def test_training_set_is_read_like_the_validation_set(cfg):
    """Without chance, and without the copies of augmentation."""
    plain = clips_of(cfg)
    train = cfg.train_dataloader
    assert torch.equal(plain, clips_of(cfg))
    train.dataset = dict(type='RepeatDataset', times=3, dataset=train.dataset)
    assert torch.equal(plain, clips_of(cfg))
    train.dataset.dataset.update(type='RepeatAugDataset', num_repeats=2)
    assert torch.equal(plain, clips_of(cfg))
    cfg.test_dataloader = cfg.pop('val_dataloader')
    assert torch.equal(plain, clips_of(cfg)) and from_config.eval_split(cfg) == 'test'


def test_pretraining_without_validation(cfg):
    """The middle of a video is taken, at the stride of training."""
    train = cfg.train_dataloader.dataset
    val = cfg.pop('val_dataloader').dataset
    train.pipeline[1].frame_interval = val.pipeline[1].frame_interval = 3
    val.ann_file = train.ann_file
    val.pipeline[3] = dict(type='Resize', scale=(-1, 16))
    val.pipeline.insert(4, dict(type='CenterCrop', crop_size=16))
    middle = clips_of(cfg)
    cfg.val_dataloader = dict(dataset=val)
    assert torch.equal(middle, clips_of(cfg, 'val'))


def test_unreadable_video_is_not_replaced(cfg, root, tmp_path):
    (tmp_path / 'bad.mp4').write_bytes(b'x' * 2000)
    (tmp_path / 'list.txt').write_text(f'{root}/videos/0.mp4 0\n{tmp_path}/bad.mp4 0')
    cfg.train_dataloader.dataset.update(
        ann_file=str(tmp_path / 'list.txt'), data_prefix=dict(video='')
    )
    model = load_model(cfg, save(cfg, tmp_path / 'a.pth'))
    dataset = from_config.build_dataset(cfg, 'train', model.backbone.clip_size)
    for workers in (0, 1):
        with pytest.raises(ValueError, match=r'bad\.mp4: cannot be read \(\w+: '):
            features.extract(model, dataset, 2, workers)


def test_training_goes_on_as_before():
    model = MODELS.build(tiny_model_cfg()).train()
    model.decoder.eval()

    def state():
        modes = [module.training for module in model.modules()]
        return modes, random.random(), np.random.rand(), torch.rand(1).item()

    def seed():
        random.seed(0), np.random.seed(0), torch.manual_seed(0)

    seed()
    expected = state()
    seed()
    with preserve_training_state(model):
        assert not any(state()[0])
    assert state() == expected
    seed()
    with pytest.raises(KeyError), preserve_training_state(model):
        state()
        raise KeyError
    assert state() == expected


@pytest.mark.parametrize('suffix', ['npy', 'safetensors'])
@pytest.mark.parametrize('tokens', [[], ['--tokens']])
def test_extract_tool(cfg, tmp_path, monkeypatch, suffix, tokens):
    checkpoint = save(cfg, tmp_path / 'a.pth')
    cfg.dump(tmp_path / 'cfg.py')
    out = tmp_path / 'new' / f'out.{suffix}'
    options = [
        *tokens,
        '--split',
        'train',
        '--cfg-options',
        'val_dataloader.num_workers=2',
    ]
    run(
        monkeypatch,
        'extract_features.py',
        tmp_path / 'cfg.py',
        checkpoint,
        out,
        *options,
    )
    got = np.load(out) if suffix == 'npy' else load_file(out)['features']
    model = load_model(cfg, checkpoint)
    expected = features.encode(model, clips_of(cfg), tokens=bool(tokens))
    assert_close(torch.from_numpy(got), expected)
    lines = Path(f'{out}.txt').read_text().splitlines()
    videos = cfg.val_dataloader.dataset.data_prefix.video
    assert lines == [f'{videos}/{i}.mp4\t{i % 2}' for i in range(COUNT)]
    assert sorted(p.name for p in out.parent.iterdir()) == [out.name, f'{out.name}.txt']


def test_several_labels_or_none(cfg, root, tmp_path, monkeypatch):
    (tmp_path / 'list.txt').write_text('0.mp4 0 2\n1.mp4 1')
    options = [
        f'val_dataloader.dataset.ann_file={tmp_path / "list.txt"}',
        'val_dataloader.dataset.multi_class=True',
        'val_dataloader.dataset.num_classes=3',
    ]
    checkpoint = save(cfg, tmp_path / 'a.pth')
    cfg.dump(tmp_path / 'cfg.py')
    out = tmp_path / 'out.npy'
    args = [tmp_path / 'cfg.py', checkpoint, out]
    run(monkeypatch, 'extract_features.py', *args, '--cfg-options', *options)
    videos = root / 'videos'
    expected = f'{videos}/0.mp4\t0\t2\n{videos}/1.mp4\t1\n'
    assert Path(f'{out}.txt').read_text() == expected
    cfg.val_dataloader.dataset.update(type='VideoFolderDataset')
    del cfg.val_dataloader.dataset['ann_file']
    cfg.dump(tmp_path / 'cfg.py')
    run(monkeypatch, 'extract_features.py', *args)
    assert [line[-3:] for line in Path(f'{out}.txt').read_text().splitlines()] == [
        '\t-1'
    ] * COUNT


def test_knn_tool(cfg, tmp_path, monkeypatch, capsys):
    """Each validation video is a training video: its nearest neighbour is itself."""
    model_cfg = Config(dict(model=cfg.model))
    model_cfg.dump(tmp_path / 'model.py')
    cfg.dump(tmp_path / 'data.py')
    checkpoint = save(cfg, tmp_path / 'a.pth')
    args = ['knn_eval.py', tmp_path / 'model.py', checkpoint, '--k', 1, 5]
    run(monkeypatch, *args, '--data', tmp_path / 'data.py')
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].split() == ['1', '100.00%', '100.00%']
    assert lines[-2].split()[2] == '100.00%' and lines[-1] == 'chance 50.00%'

    def fails(*argv):
        with pytest.raises(SystemExit, match='2'):
            run(monkeypatch, *argv)
        # A logger that another test left behind may write here too.
        lines = capsys.readouterr().err.splitlines()
        (line,) = [line for line in lines if line.startswith('error: ')]
        return line

    assert 'take those of another with --data' in fails(*args)
    with monkeypatch.context() as patch:
        patch.setattr(features, 'iter_features', None)  # before anything is encoded
        data = ['--data', tmp_path / 'data.py']
        assert 'to 5, the number of training videos, got 9' in fails(
            *args[:3], '--k', 9, *data
        )
        assert 'temperature: expected' in fails(*args, '--temperature', 0, *data)
    assert 'no test_dataloader, only train, val' in fails(
        *args, '--split', 'test', '--data', tmp_path / 'data.py'
    )
    cfg.pop('val_dataloader')
    cfg.dump(tmp_path / 'train_only.py')
    assert 'expected a val_dataloader or test_dataloader' in fails(
        *args, '--data', tmp_path / 'train_only.py'
    )
    assert 'checkpoint not found: nowhere.pth' in fails(
        *args[:2], 'nowhere.pth', '--data', tmp_path / 'data.py'
    )
    gone = f'train_dataloader.dataset.ann_file={tmp_path}/gone.txt'
    gone = fails(*args, '--data', tmp_path / 'data.py', '--cfg-options', gone)
    assert 'annotation file not found' in gone
    assert 'OUT: expected a .npy or .safetensors file' in fails(
        'extract_features.py', tmp_path / 'data.py', checkpoint, 'out.pkl'
    )


def test_positions_come_from_the_grid_that_the_file_states(cfg, tmp_path):
    """8 frames of 32 pixels; a guess from 16 frames of 16 would be another grid."""
    cfg.model.backbone.img_size = 32
    torch.manual_seed(0)
    large = MODELS.build(cfg.model)
    torch.nn.init.normal_(large.sampler.pos_embed)
    content = dict(state_dict=large.state_dict(), meta=dict(cfg=cfg.pretty_text))
    torch.save(content, tmp_path / 'a.pth')
    cfg.model.backbone.update(img_size=16, num_frames=16)
    model = load_model(cfg, str(tmp_path / 'a.pth'))
    expected = resize_positions(large.sampler.pos_embed, (4, 4, 4), (8, 2, 2))
    assert torch.equal(model.sampler.pos_embed, expected)


def test_data_sets_that_are_joined(cfg):
    plain = clips_of(cfg)
    for split in ('train', 'val'):
        loader = cfg[f'{split}_dataloader']
        loader.dataset = dict(
            type='ConcatDataset', datasets=[loader.dataset, deepcopy(loader.dataset)]
        )
    assert torch.equal(clips_of(cfg), torch.cat([plain, plain]))
    dataset = from_config.build_dataset(
        cfg, 'train', MODELS.build(cfg.model).backbone.clip_size
    )
    assert from_config.names_and_labels(dataset)[1].tolist() == [0, 1, 0, 1, 0] * 2
    cfg.val_dataloader.dataset.datasets[1].pipeline[1].clip_len = 4
    with pytest.raises(ValueError, match='val_dataloader.* one pipeline for all'):
        clips_of(cfg)


def test_weights_that_are_not_finite(cfg, tmp_path):
    path = save(cfg, tmp_path / 'a.pth')
    content = torch.load(path)
    content['state_dict']['backbone.norm.bias'][3] = float('nan')
    torch.save(content, path)
    with pytest.raises(ValueError, match=r'backbone\.norm\.bias: not finite'):
        load_model(cfg, path)


def test_wrong_models(cfg, tmp_path):
    checkpoint = save(cfg, tmp_path / 'a.pth')
    cfg.model.backbone.depth = 3
    with pytest.raises(ValueError, match='does not fit the MAERecognizer.*blocks.2'):
        load_model(cfg, checkpoint)
    cfg.model = recognizer_cfg()
    cfg.model.backbone.type = 'VisionTransformer'
    with pytest.raises(ValueError, match='expected a MaskedVisionTransformer, got Vis'):
        load_model(cfg, checkpoint)
