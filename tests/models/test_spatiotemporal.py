"""SpatiotemporalMAE: model, loss, recipe and data, against what its paper says."""

import numpy as np
import pytest
import torch
from mmaction.datasets.repeat_aug_dataset import repeat_pseudo_collate
from mmaction.registry import DATASETS, MODELS, PARAM_SCHEDULERS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch.testing import assert_close

from projects.adamae.evaluation import features
from projects.adamae.models.losses import SpatiotemporalMAELoss
from projects.adamae.models.tokens import patchify
from tests.helpers import CONFIGS, tiny_spatiotemporal_cfg, write_videos

TINY_SEPARABLE = dict(embed_dims=16, depth=1, num_heads=2)


def test_frames_to_predict():
    target = SpatiotemporalMAELoss(norm_pix=False).target
    assert target.frames == (0, 2, 4, 6, 8, 10, 12, 15)
    assert target.out_channels == 16 * 16 * 3
    numbers = torch.arange(16.0).expand(2, 3, 224, 224, 16).movedim(-1, 2)  # of frames
    patches = patchify(numbers, 16, 2)
    expected = torch.tensor(target.frames).repeat_interleave(196).float()
    assert torch.equal(target(patches), expected[None, :, None].expand(2, -1, 768))
    ids = torch.tensor([[0, 1567], [195, 196]])
    some = patches[0, ids]
    assert target(some, ids)[..., 0].tolist() == [[0, 15], [0, 2]]


@pytest.mark.parametrize('tubelet', [1, 2, 3, 4])
@pytest.mark.parametrize('steps', [1, 2, 5, 8])
def test_every_predicted_frame_lies_in_its_token(tubelet, steps):
    shape = dict(token_shape=(tubelet, 2, 2, 3), grid_size=(steps, 1, 1))
    target = SpatiotemporalMAELoss(**shape).target
    assert [frame // tubelet for frame in target.frames] == list(range(steps))


def test_pixels_and_back():
    target = SpatiotemporalMAELoss(token_shape=(2, 4, 4, 3), grid_size=(4, 2, 2)).target
    patches = patchify(torch.rand(2, 3, 8, 8, 8), 4, 2)
    ids = torch.tensor([[3, 15], [0, 7]])
    some = patches[torch.tensor([[0], [1]]), ids]
    for x, where in ((patches, None), (some, ids)):
        pixels = target.to_pixels(target(x, where), x, where)
        assert pixels.shape == x.shape
        frames = pixels.unflatten(2, (2, -1))
        assert torch.equal(frames[:, :, 0], frames[:, :, 1])
    # 8 frames: 0, 2, 4, 7.
    pixels = target.to_pixels(target(patches), patches).unflatten(2, (2, -1))
    true = patches.unflatten(2, (2, -1))
    assert_close(pixels[:, :12, 0], true[:, :12, 0], rtol=0, atol=1e-5)
    assert_close(pixels[:, 12:, 0], true[:, 12:, 1], rtol=0, atol=1e-5)


# The model


def test_initialization():
    model = MODELS.build(
        tiny_spatiotemporal_cfg(
            backbone=dict(embed_dims=64), decoder=dict(embed_dims=32)
        )
    )
    model.init_weights()
    for part, width in ((model.backbone, 64), (model.decoder, 32)):
        qkv = part.blocks[0].attn.qkv.weight
        bound = (6 / (2 * width)) ** 0.5
        assert 0.95 * bound < qkv.abs().max() <= bound
        for name in ('pos_embed_spatial', 'pos_embed_temporal'):
            assert 0.01 < getattr(part, name).std() < 0.03
    kernel = model.backbone.patch_embed.projection.weight
    bound = (6 / (64 + kernel[0].numel())) ** 0.5
    assert 0.95 * bound < kernel.abs().max() <= bound


@pytest.mark.parametrize('option', ['return_feat_map', 'use_learnable_pos_emb'])
def test_options_of_the_other_encoder(option):
    cfg = tiny_spatiotemporal_cfg()['backbone']
    MODELS.build({**cfg, option: False})
    with pytest.raises(ValueError, match=f'{option}=True: .* has no such option'):
        MODELS.build({**cfg, option: True})


def test_features_are_what_the_classifier_sees():
    model = torch.nn.Module()
    model.backbone = MODELS.build(tiny_spatiotemporal_cfg()['backbone']).eval()
    clips = torch.randn(2, 3, *model.backbone.clip_size)
    expected = model.backbone(clips)
    assert_close(features.encode(model, clips), expected, rtol=1e-4, atol=1e-4)


# Recipes


def published_layer(name, depth):
    """Embeddings 0, block i -> i + 1, the rest last."""
    name = name.removeprefix('backbone.')
    if name.startswith(('cls_token', 'pos_embed', 'patch_embed')):
        return 0
    return int(name.split('.')[1]) + 1 if name.startswith('blocks') else depth + 1


@pytest.mark.parametrize('size, depth, rate', [('l', 24, 0.75), ('b', 12, 0.65)])
def test_layers_and_decay_in_fine_tuning(size, depth, rate):
    cfg = Config.fromfile(CONFIGS / f'maest_vit{size}_k400_finetune.py')
    assert cfg.model.backbone.depth == depth
    cfg.model.backbone.update(embed_dims=16, num_heads=2)
    cfg.model.cls_head.in_channels = 16
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, {**cfg.optim_wrapper, 'type': 'OptimWrapper'})
    groups = wrapper.optimizer.param_groups
    of = {n: g for g in groups for n in g['param_names']}
    assert of.keys() == {n for n, _ in model.named_parameters()}
    assert sum(len(g['params']) for g in groups) == len(of)
    for name, param in model.named_parameters():
        group = of[name]
        assert any(param is p for p in group['params'])
        scale = rate ** (depth + 1 - published_layer(name, depth))
        assert group['lr'] == pytest.approx(2.4e-3 * 2 * scale), name
        free = param.ndim == 1 or 'cls_token' in name or 'pos_embed' in name
        assert group['weight_decay'] == (0 if free else 0.05), name


def test_pretraining_recipe():
    cfg = Config.fromfile(CONFIGS / 'maest_vitl_k400_pretrain.py')
    steps = {step['type']: step for step in cfg.train_pipeline}
    assert steps['RepeatLastSampleFrames']['frame_interval'] == 4
    assert steps['RandomResizedCropWithinRatio']['area_range'] == (0.5, 1.0)
    assert steps['Flip']['flip_ratio'] == 0.5
    assert cfg.train_dataloader.dataset.num_repeats == 4
    assert cfg.optim_wrapper.clip_grad.max_norm == 0.02
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(1.6e-3 * 512 / 256)
    assert cfg.auto_scale_lr.base_batch_size == 4 * 512
    assert cfg.model.backbone.depth == 24 and cfg.model.decoder.depth == 4
    cfg.model.backbone.update(TINY_SEPARABLE)
    cfg.model.decoder.update(TINY_SEPARABLE)
    model = MODELS.build(cfg.model)
    assert model.sampler.num_visible == 156
    assert model.decoder.head.out_features == 768
    # The released code adds 1e-6 to the variance of normalized pixels.
    patches = torch.rand(1, 1, 512, 3).double() * 1e-3
    ids = torch.zeros(1, 1, dtype=torch.long)
    normal = ((patches - 0.45) / 0.225)[:, :, :256].flatten(2)
    expected = (normal - normal.mean()) / (normal.var() + 1e-6) ** 0.5
    assert_close(model.criterion.target(patches, ids), expected)
    wrapper = build_optim_wrapper(model, {**cfg.optim_wrapper, 'type': 'OptimWrapper'})
    groups = wrapper.optimizer.param_groups
    assert all(g['betas'] == (0.9, 0.95) for g in groups)
    decay = {id(p): g['weight_decay'] for g in groups for p in g['params']}
    for name, param in model.named_parameters():
        assert decay[id(param)] == (0 if param.ndim == 1 else 0.05), name


def test_learning_rate_of_pretraining():
    """From 0 to the peak in 5 epochs, and by a cosine to 0 again."""
    cfg = Config.fromfile(CONFIGS / 'maest_vitl_k400_pretrain.py')
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=3.2e-3)
    schedulers = [
        PARAM_SCHEDULERS.build(
            {k: v for k, v in s.items() if k != 'convert_to_iter_based'}
            | dict(optimizer=optimizer, end=s.get('end', cfg.train_cfg.max_epochs))
        )
        for s in cfg.param_scheduler
    ]
    rates = []
    for _ in range(201):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] == pytest.approx(0, abs=1e-8)
    assert max(rates) == rates[5] == pytest.approx(3.2e-3)
    assert rates[102] == pytest.approx(1.6e-3, rel=2e-2)
    assert rates[200] == pytest.approx(0, abs=1e-6)


# Repeated sampling


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp('videos')
    lines = write_videos(root, count=2, frames=120)
    (root / 'broken.mp4').write_bytes(b'not a video' * 1000)
    (root / 'list.txt').write_text('\n'.join([*lines, 'broken.mp4 0']))
    cfg = Config.fromfile(CONFIGS / 'maest_vitl_k400_pretrain.py')
    dataset = cfg.train_dataloader.dataset
    dataset.ann_file, dataset.data_prefix.video = str(root / 'list.txt'), str(root)
    return dataset


def one_frame(results):
    results['imgs'] = [np.array(results['imgs'][0])] * len(results['imgs'])
    return results


def test_four_clips_with_their_own_crops(dataset):
    """The same frame four times: what differs is the crop, and it lasts a clip."""
    still = dataset.copy()
    still.pipeline = [dict(step) for step in dataset.pipeline]
    still.pipeline[1].update(frame_interval=1)
    still.pipeline.insert(3, one_frame)
    packed = DATASETS.build(still)[0]
    clips = torch.stack([item['inputs'][0] for item in packed])
    assert clips.shape == (4, 3, 16, 224, 224) and clips.dtype == torch.uint8
    assert all(torch.equal(clips[:, :, 0], clips[:, :, t]) for t in range(16))
    assert len(clips.flatten(1).unique(dim=0)) == 4


def test_four_clips_with_their_own_start(dataset):
    plain = dataset.copy()
    plain.pipeline = [
        *dataset.pipeline[:3],
        dict(type='Resize', scale=(32, 32), keep_ratio=False),
        *dataset.pipeline[-2:],
    ]
    packed = DATASETS.build(plain)[0]
    starts = torch.stack([item['inputs'][0, :, 0].flatten() for item in packed])
    assert len(starts.unique(dim=0)) > 1


def test_unreadable_videos_are_replaced_and_the_batch_holds_clips(dataset):
    videos = DATASETS.build(dataset)
    batch = repeat_pseudo_collate([videos[0], videos[2]])
    assert len(batch['inputs']) == len(batch['data_samples']) == 8
    cfg = tiny_spatiotemporal_cfg()['data_preprocessor']
    data = MODELS.build(cfg)(batch, training=True)
    assert data['inputs'].shape == (8, 3, 16, 224, 224)
