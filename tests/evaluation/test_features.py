"""Features of real files, through the package and the tools."""

import random
from contextlib import suppress
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
from projects.adamae.checkpoints.adapt import resize_positions
from projects.adamae.datasets import from_config
from projects.adamae.engine.hooks.training_state import preserve_training_state
from projects.adamae.evaluation import features
from projects.adamae.models import MAERecognizer
from projects.adamae.video.error import VideoError
from tests.helpers import (
    run_tool,
    tiny_model_cfg,
    video_dataset_cfg,
    write_videos,
)

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
    """A training set whose pipeline must not be used, and a validation set."""
    train = video_dataset_cfg(root, 'train.txt')
    train['pipeline'].insert(2, dict(type='Nowhere'))
    val = video_dataset_cfg(root, 'val.txt', test_mode=True)
    loader = dict(batch_size=2, num_workers=0)
    return Config(
        dict(
            model=tiny_model_cfg(),
            train_dataloader=dict(**loader, dataset=train),
            val_dataloader=dict(**loader, dataset=val),
        )
    )


def save(cfg, path):
    torch.manual_seed(1)
    model = MODELS.build(cfg.model)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)  # norms, too
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


def load(cfg, tmp_path, split='val'):
    """A model with weights from a file, and the dataset that it reads."""
    model = load_model(cfg, save(cfg, tmp_path / 'a.pth'))
    return model, from_config.build_dataset(cfg, split, model.backbone.clip_size)


def clips_of(cfg, split='train'):
    """Normalized clips, read one by one."""
    dataset = from_config.build_dataset(cfg, split, (8, 16, 16))
    x = torch.cat([dataset[i]['inputs'] for i in range(len(dataset))]).float()
    statistics = tiny_model_cfg()['data_preprocessor']
    mean, std = (
        torch.tensor(statistics[k]).reshape(3, 1, 1, 1) for k in ('mean', 'std')
    )
    return (x - mean) / std


@pytest.mark.parametrize('batch_size, num_workers', [(1, 0), (2, 3), (8, 0)])
def test_pretrained_encoder(cfg, tmp_path, batch_size, num_workers):
    """Every video once, in order, whatever reads it: encode(all tokens).mean(1)."""
    model, dataset = load(cfg, tmp_path, 'train')
    assert not model.training
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
    model, dataset = load(cfg, tmp_path)
    with torch.no_grad():
        assert_close(
            features.extract(model, dataset, 2), model.backbone(clips_of(cfg, 'val'))
        )


def test_views_of_a_video_are_averaged(cfg, tmp_path):
    for model_cfg in (tiny_model_cfg(), recognizer_cfg()):
        cfg.model = model_cfg
        cfg.val_dataloader.dataset.pipeline[1].num_clips = 3
        model, dataset = load(cfg, tmp_path)
        clips = clips_of(cfg, 'val')
        assert len(clips) == 9
        each = features.encode(model, clips)
        got = features.extract(model, dataset, 2)
        assert_close(got, each.reshape(3, 3, -1).mean(1))
        with pytest.raises(ValueError, match='expected one clip per video .*, got 3'):
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
    variance, mean = torch.var_mean(vectors, 0, correction=0)
    standard = (vectors - mean) / (variance + 1e-6).sqrt()
    head = probe.cls_head
    assert_close(head(vectors), head.fc_cls(standard), rtol=1e-3, atol=1e-4)


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
    model, dataset = load(cfg, tmp_path, 'train')
    for workers in (0, 1):
        with pytest.raises(VideoError, match=r'^\S+bad\.mp4: expected a readable '):
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
    for error in (None, KeyError):
        seed()
        with suppress(KeyError), preserve_training_state(model):
            assert not any(state()[0])
            if error:
                raise error
        assert state() == expected


@pytest.mark.parametrize(
    'suffix, tokens, num_workers',
    [('npy', ['--tokens'], 0), ('npy', [], 0), ('safetensors', [], 1)],
)
def test_extract_tool(cfg, tmp_path, suffix, tokens, num_workers):
    checkpoint = save(cfg, tmp_path / 'a.pth')
    cfg.dump(tmp_path / 'cfg.py')
    out = tmp_path / 'new' / f'out.{suffix}'
    run_tool(
        'extract_features',
        *(tmp_path / 'cfg.py', checkpoint, out, '--split', 'train', *tokens),
        **{'val_dataloader.num_workers': num_workers},
    )
    got = np.load(out) if suffix == 'npy' else load_file(out)['features']
    model = load_model(cfg, checkpoint)
    expected = features.encode(model, clips_of(cfg), tokens=bool(tokens))
    assert_close(torch.from_numpy(got), expected)
    lines = Path(f'{out}.txt').read_text().splitlines()
    videos = cfg.val_dataloader.dataset.data_prefix.video
    assert lines == [f'{videos}/{i}.mp4\t{i % 2}' for i in range(COUNT)]
    assert sorted(p.name for p in out.parent.iterdir()) == [out.name, f'{out.name}.txt']


def test_several_labels_or_none(cfg, root, tmp_path):
    (tmp_path / 'list.txt').write_text('0.mp4 0 2\n1.mp4 1')
    options = dict(ann_file=tmp_path / 'list.txt', multi_class=True, num_classes=3)
    checkpoint = save(cfg, tmp_path / 'a.pth')
    cfg.dump(tmp_path / 'cfg.py')
    out = tmp_path / 'out.npy'
    args = ['extract_features', tmp_path / 'cfg.py', checkpoint, out]
    run_tool(*args, **{f'val_dataloader.dataset.{k}': v for k, v in options.items()})
    videos = root / 'videos'
    expected = f'{videos}/0.mp4\t0\t2\n{videos}/1.mp4\t1\n'
    assert Path(f'{out}.txt').read_text() == expected
    cfg.val_dataloader.dataset.update(type='VideoFolderDataset')
    del cfg.val_dataloader.dataset['ann_file']
    cfg.dump(tmp_path / 'cfg.py')
    run_tool(*args)
    lines = Path(f'{out}.txt').read_text().splitlines()
    assert [line.split('\t')[1] for line in lines] == ['-1'] * COUNT


def test_knn_tool(cfg, tmp_path, monkeypatch, capsys):
    """Each validation video is a training video: its nearest neighbor is itself."""
    Config(dict(model=cfg.model)).dump(tmp_path / 'model.py')
    cfg.dump(tmp_path / 'data.py')
    checkpoint = save(cfg, tmp_path / 'a.pth')
    data = ['--data', tmp_path / 'data.py']
    args = ['knn_eval', tmp_path / 'model.py', checkpoint]
    run_tool(*args, *data, '--k', 1, 5)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].split() == ['1', '100.00%', '100.00%']
    assert lines[-2].split()[2] == '100.00%' and lines[-1] == 'chance 50.00%'

    def fails(message, *argv):
        with pytest.raises(SystemExit, match='2'):
            run_tool(*argv)
        # A logger that another test left behind may write here too.
        lines = capsys.readouterr().err.splitlines()
        (line,) = [line for line in lines if line.startswith('error: ')]
        assert message in line

    fails('take those of another with --data', *args)
    with monkeypatch.context() as patch:
        patch.setattr(features, 'iter_features', None)  # before anything is encoded
        fails('to 5, the number of training videos, got 9', *args, *data, '--k', 9)
        fails('temperature: expected', *args, *data, '--k', 1, '--temperature', 0)
    fails('no test_dataloader, only train, val', *args, *data, '--split', 'test')
    fails('checkpoint not found: nowhere.pth', *args[:2], 'nowhere.pth', *data)
    gone = f'train_dataloader.dataset.ann_file={tmp_path}/gone.txt'
    fails('annotation file not found', *args, *data, '--cfg-options', gone)
    cfg.pop('val_dataloader')
    cfg.dump(data[1])
    fails('expected a val_dataloader or test_dataloader', *args, *data)
    fails(
        'OUT: expected a .npy or .safetensors file',
        *('extract_features', data[1], checkpoint, 'out.pkl'),
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


def test_datasets_that_are_joined(cfg):
    plain = clips_of(cfg)
    for split in ('train', 'val'):
        loader = cfg[f'{split}_dataloader']
        loader.dataset = dict(
            type='ConcatDataset', datasets=[loader.dataset, deepcopy(loader.dataset)]
        )
    assert torch.equal(clips_of(cfg), torch.cat([plain, plain]))
    dataset = from_config.build_dataset(cfg, 'train', (8, 16, 16))
    assert from_config.names_and_labels(dataset)[1].tolist() == [0, 1, 0, 1, 0] * 2
    cfg.val_dataloader.dataset.datasets[1].pipeline[1].clip_len = 4
    with pytest.raises(ValueError, match='val_dataloader.* one pipeline for all'):
        clips_of(cfg)


def test_wrong_models(cfg, tmp_path):
    checkpoint = save(cfg, tmp_path / 'a.pth')
    content = torch.load(checkpoint)
    content['state_dict']['backbone.norm.bias'][3] = float('nan')
    torch.save(content, tmp_path / 'nan.pth')
    with pytest.raises(ValueError, match=r'backbone\.norm\.bias: not finite'):
        load_model(cfg, str(tmp_path / 'nan.pth'))
    random = dict(type='RandomSamplerHead', mask_ratio=0.5)
    for model, message in (
        (dict(backbone=dict(depth=3)), r'the MAERecognizer.*blocks\.2.*, \.\.\.'),
        (dict(backbone=dict(embed_dims=32)), 'of another shape: .*Use the config'),
        (dict(sampler=random), r'does not fit .*: sampler\.\w+'),
    ):
        cfg.model = tiny_model_cfg(**model)
        with pytest.raises(ValueError, match=message):
            load_model(cfg, checkpoint)
    cfg.model = recognizer_cfg()
    with pytest.raises(ValueError, match='config of a MAERecognizer, .* Recognizer3D'):
        load_model(cfg, checkpoint, MAERecognizer)
    cfg.model.backbone.type = 'VisionTransformer'
    with pytest.raises(ValueError, match='expected a MaskedVisionTransformer, got Vis'):
        load_model(cfg, checkpoint)
