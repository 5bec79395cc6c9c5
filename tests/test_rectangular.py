"""Clips that are no squares: rows and columns differ everywhere."""

import json

import numpy as np
import pytest
import torch
from mmaction.datasets.transforms import CenterCrop, Resize
from mmaction.models.backbones.vit_mae import VisionTransformer
from mmaction.registry import MODELS
from mmengine.config import Config

from projects.adamae.checkpoints.adapt import CheckpointMismatch, adapt_checkpoint
from projects.adamae.checkpoints.convert import parse_overrides
from projects.adamae.datasets.from_config import center_clip_pipeline
from projects.adamae.datasets.transforms import EvenThreeCrop, ResizeToCover
from projects.adamae.launch.model_sizes import follow_model
from projects.adamae.utils.sizes import height_and_width
from tests.helpers import (
    CONFIGS,
    run_tool,
    tiny_model_cfg,
    tiny_spatiotemporal_cfg,
    write_videos,
)

SAMPLERS = [
    dict(type=kind, mask_ratio=0.75)
    for kind in (
        'AdaptiveSamplerHead',
        'RandomSamplerHead',
        'TubeSamplerHead',
        'FrameSamplerHead',
        'FrameDifferenceSamplerHead',
    )
]
SAMPLERS[0]['num_heads'] = 2


@pytest.mark.parametrize('sampler', SAMPLERS, ids=lambda cfg: cfg['type'])
@pytest.mark.parametrize('make', [tiny_model_cfg, tiny_spatiotemporal_cfg])
def test_all_parts_train(sampler, make):
    subset = dict(type='RunningCellSubset')
    model = MODELS.build(make(sampler, backbone=dict(img_size=(16, 32)), subset=subset))
    assert model.backbone.token_grid == (4, 2, 4)
    losses = model(torch.randn(2, 3, 8, 16, 32), None, 'loss')
    sum(value for key, value in losses.items() if 'loss' in key).backward()


def test_a_square_given_as_two_sides_is_the_square():
    models = []
    for size in (16, (16, 16), [16, 16]):
        torch.manual_seed(0)
        models.append(MODELS.build(tiny_model_cfg(backbone=dict(img_size=size))))
    for model in models[1:]:
        weights = model.state_dict()
        for name, tensor in models[0].state_dict().items():
            assert torch.equal(weights[name], tensor)


@pytest.mark.parametrize('learned', [False, True])
def test_encoder_is_the_stock_one_on_such_clips(learned):
    cfg = dict(tiny_model_cfg()['backbone'], use_learnable_pos_emb=learned)
    ours = MODELS.build(cfg | dict(img_size=(16, 32)))
    stock = VisionTransformer(**{k: v for k, v in cfg.items() if k != 'type'})
    stock.grid_size, stock.pos_embed = (2, 4), ours.pos_embed
    stock.load_state_dict(ours.state_dict())
    x = torch.randn(1, 3, 8, 16, 32)
    torch.testing.assert_close(ours.eval()(x), stock.eval()(x))


@pytest.mark.parametrize('size', [0, (16,), (16, 16, 16), '16', (16, 'a'), 1.5, None])
def test_sizes_that_are_none(size):
    with pytest.raises(ValueError, match='expected one number of pixels, or .*, got'):
        height_and_width(size)


def test_both_sides_are_whole_tokens():
    with pytest.raises(ValueError, match=r'img_size=\(16, 30\) is not divisible by'):
        MODELS.build(tiny_model_cfg(backbone=dict(img_size=(16, 30))))


def ramp(grid):
    """Positions whose first two channels tell row and column, 0 to 1."""
    t, h, w = grid
    table = torch.zeros(t, h, w, 16)
    table[..., 0] = torch.linspace(0, 1, h)[:, None]
    table[..., 1] = torch.linspace(0, 1, w)
    return table.reshape(1, t * h * w, 16)


@pytest.mark.parametrize('size', [(32, 16), (16, 32), 32])
def test_positions_follow_rows_and_columns(size):
    """Of a checkpoint with 2 rows of 4, also where the number of tokens is the same."""
    learned = dict(use_learnable_pos_emb=True)
    old = tiny_model_cfg(backbone=dict(img_size=(16, 32), **learned))
    new = MODELS.build(tiny_model_cfg(backbone=dict(img_size=size, **learned)))
    weights = MODELS.build(old).state_dict()
    weights['backbone.pos_embed'] = ramp((4, 2, 4))
    text = Config(dict(model=old)).pretty_text
    checkpoint = dict(state_dict=weights, meta=dict(cfg=text))
    adapted = adapt_checkpoint(checkpoint, new, 'test')['backbone.pos_embed']
    grid = new.backbone.token_grid
    assert adapted.shape == new.backbone.pos_embed.shape
    rows, columns = adapted.reshape(*grid, 16)[..., :2].unbind(-1)
    # Rising along their own axis, and constant along the others.
    assert (rows.diff(dim=1) > 0).all() and (columns.diff(dim=2) > 0).all()
    flat = rows.diff(dim=0), rows.diff(dim=2), columns.diff(dim=0), columns.diff(dim=1)
    assert all(step.abs().max() < 1e-5 for step in flat)


def test_separable_positions_need_a_file_that_tells_their_grid():
    old = tiny_spatiotemporal_cfg(backbone=dict(img_size=(16, 32)))
    new = MODELS.build(tiny_spatiotemporal_cfg(backbone=dict(img_size=(32, 16))))
    weights = MODELS.build(old).state_dict()
    for name in ('backbone.pos_embed_spatial', 'decoder.pos_embed_spatial'):
        weights[name][..., :2] = ramp((1, 2, 4))[..., :2]
    meta = dict(cfg=Config(dict(model=old)).pretty_text)
    content = dict(state_dict=dict(weights), meta=meta)
    adapted = adapt_checkpoint(content, new, 'test')
    for name in ('backbone.pos_embed_spatial', 'decoder.pos_embed_spatial'):
        rows = adapted[name].reshape(4, 2, -1)[..., 0]
        assert (rows.diff(dim=0) > 0).all() and rows.diff(dim=1).abs().max() < 1e-5
    larger = MODELS.build(tiny_spatiotemporal_cfg(backbone=dict(img_size=(32, 48))))
    with pytest.raises(CheckpointMismatch, match='does not tell their size'):
        adapt_checkpoint(dict(state_dict=dict(weights)), larger, 'test')


def test_a_converted_checkpoint_keeps_its_size(tmp_path):
    assert parse_overrides(['backbone.img_size=(16,32)']) == {
        'backbone.img_size': (16, 32)
    }
    with pytest.raises(ValueError, match=r'0 or \(height,width\), got .\(16,\)'):
        parse_overrides(['backbone.img_size=(16,)'])
    cfg = tiny_model_cfg(backbone=dict(img_size=(16, 32)))
    cfg['sampler'] = dict(type='RandomSamplerHead', mask_ratio=0.75)
    text = Config(dict(model=cfg)).pretty_text
    weights = MODELS.build(cfg).state_dict()
    torch.save(dict(state_dict=weights, meta=dict(cfg=text)), tmp_path / 'a.pth')
    run_tool(
        'convert_checkpoint', tmp_path / 'a.pth', tmp_path / 'b', '--to=transformers'
    )
    assert json.loads((tmp_path / 'b/config.json').read_text())['image_size'] == [
        16,
        32,
    ]
    run_tool('convert_checkpoint', tmp_path / 'b', tmp_path / 'c.pth')
    again = torch.load(tmp_path / 'c.pth')
    assert "'img_size': (16, 32)" in again['meta']['cfg']
    assert weights.keys() == again['state_dict'].keys()


@pytest.mark.parametrize('frame', [(90, 160), (160, 90), (100, 100), (97, 131)])
@pytest.mark.parametrize('size', [(64, 96), (96, 64), (64, 64)])
def test_frames_cover_the_crop(frame, size):
    """(Height, width) of both."""
    results = dict(imgs=[np.zeros((*frame, 3), np.uint8)], img_shape=frame)
    resized = ResizeToCover(scale=size[::-1]).transform(results)
    spare = [have - want for have, want in zip(resized['img_shape'], size, strict=True)]
    assert min(spare) == 0
    assert resized['imgs'][0].shape[:2] == resized['img_shape']
    height, width = resized['img_shape']
    assert abs(height / frame[0] - width / frame[1]) <= 0.5 / min(frame)
    crops = EvenThreeCrop(crop_size=size[::-1]).transform(dict(resized))
    assert all(crop.shape[:2] == size for crop in crops['imgs'])


def test_covering_a_square_is_resizing_the_short_side():
    frame = np.random.randint(0, 256, (97, 131, 3), np.uint8)
    ours, stock = (
        step.transform(dict(imgs=[frame], img_shape=frame.shape[:2]))
        for step in (ResizeToCover(scale=(64, 64)), Resize(scale=(-1, 64)))
    )
    assert np.array_equal(ours['imgs'][0], stock['imgs'][0])


@pytest.mark.parametrize(
    'steps',
    [
        '[dict(scale=(-1, 256)), dict(crop_size={size})]',
        '[dict(input_size={size}), dict(scale={pair}, keep_ratio=False)]',
        '[{short}, dict(crop_size={size})]',
    ],
)
def test_pipelines_follow(steps):
    def pipeline(**values):
        return eval(steps.format(**values))

    short = "dict(type='Resize', scale=(-1, 224))"
    square = pipeline(size=224, pair=(224, 224), short=short)
    cover = "dict(type='ResizeToCover', scale=(96, 64))"
    wide = pipeline(size=(96, 64), pair=(96, 64), short=cover)
    cfg = Config(dict(model=dict(backbone=dict(img_size=(64, 96)))))
    cfg.train_dataloader = dict(dataset=dict(pipeline=square))
    follow_model(cfg)
    assert cfg.train_dataloader.dataset.pipeline == wide


def test_center_clips_have_the_size():
    steps = {step['type']: step for step in center_clip_pipeline((8, 64, 96))}
    assert steps['ResizeToCover']['scale'] == steps['CenterCrop']['crop_size']
    assert CenterCrop(steps['CenterCrop']['crop_size']).crop_size == (96, 64)


@pytest.mark.slow
def test_from_pretraining_to_a_tested_classifier(tmp_path):
    """Train, resume, draw, extract, fine-tune and test with the shipped recipes."""
    lines = write_videos(tmp_path / 'videos', count=2, frames=34, size=(48, 80))
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    videos = {
        f'{split}_dataloader.{key}': value
        for split in ('train', 'val', 'test')
        for key, value in {
            'num_workers': 0,
            'persistent_workers': False,
            'dataset.ann_file': tmp_path / 'list.txt',
            'dataset.data_prefix.video': tmp_path / 'videos',
        }.items()
    }
    run = {'train_dataloader.batch_size': 2, 'train_cfg.max_epochs': 2}
    run |= {'param_scheduler.0.end': 1, 'param_scheduler.1.begin': 1}
    run['default_hooks.checkpoint.interval'] = 1

    def encoder(size):
        sizes = dict(img_size=size, embed_dims=16, depth=1, num_heads=2)
        return {f'model.backbone.{key}': value for key, value in sizes.items()}

    pretrain = CONFIGS / 'adamae_vitb_ssv2_pretrain.py'
    out = tmp_path / 'pretrain'
    options = encoder('(32,48)') | {
        'model.sampler.num_heads': 2,
        'model.decoder.embed_dims': 8,
        'model.decoder.depth': 1,
        'model.decoder.num_heads': 2,
    }
    train = {k: v for k, v in videos.items() if k.startswith('train')}
    command = ('train', pretrain, '--work-dir', out)
    run_tool(*command, **options | train | run)
    (out / 'epoch_2.pth').unlink()
    resume = ('--resume', out / 'epoch_1.pth')
    run_tool(*command, *resume, **options | train | run)
    video = tmp_path / 'videos/0.mp4'
    pictures = ('--out', tmp_path / 'pictures', '--video', video)
    run_tool('visualize', pretrain, out / 'epoch_2.pth', *pictures, **options)
    assert len([*(tmp_path / 'pictures').iterdir()]) == 1
    features = (out / 'epoch_2.pth', tmp_path / 'tokens.npy', '--tokens')
    run_tool('extract_features', pretrain, *features, **options | train)
    assert np.load(tmp_path / 'tokens.npy').shape == (2, 8, 2, 3, 16)

    finetune = CONFIGS / 'adamae_vitb_ssv2_finetune.py'
    options = videos | {
        'model.cls_head.in_channels': 16,
        'optim_wrapper.paramwise_cfg.num_layers': 1,
    }
    options |= encoder('(48,32)')
    run['load_from'] = out / 'epoch_2.pth'
    work_dir = ('--work-dir', tmp_path / 'finetune')
    run_tool('train', finetune, *work_dir, **options | run)
    trained = tmp_path / 'finetune/epoch_2.pth'
    run_tool('test', finetune, trained, *work_dir, **options)
