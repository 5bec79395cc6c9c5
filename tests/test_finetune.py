"""Fine-tuning and its test: the shipped configs against the published protocol."""

import pickle
import re
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS, MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch.testing import assert_close

from projects.adamae.video.writer import encode_video
from tests.helpers import CONFIGS, ROOT, free_port, run_command, run_tool, write_videos

DATASET_NAMES = ('ssv2', 'k400')
TINY_ENCODER = dict(embed_dims=16, depth=1, num_heads=2)
SSV2 = CONFIGS / 'adamae_vitb_ssv2_finetune.py'


def config(dataset, size='b', task='finetune'):
    return Config.fromfile(CONFIGS / f'adamae_vit{size}_{dataset}_{task}.py')


# The recipe


@pytest.mark.parametrize(
    ('dataset', 'classes', 'lr', 'epochs', 'clips'),
    [('ssv2', 174, 5e-4, 50, 2), ('k400', 400, 1e-3, 100, 5)],
)
def test_recipe(dataset, classes, lr, epochs, clips):
    cfg = config(dataset)
    assert cfg.optim_wrapper.optimizer == dict(
        type='AdamW',
        lr=lr * 512 / 256,
        betas=(0.9, 0.999),
        weight_decay=0.05,
        fused=True,
    )
    assert cfg.auto_scale_lr.base_batch_size == 512
    assert cfg.train_cfg.max_epochs == epochs
    steps = {step.get('type'): step for step in cfg.train_pipeline}
    assert ('Flip' in steps) == (dataset == 'k400')
    assert steps['RandomResizedCropWithinRatio']['area_range'] == (0.08, 1)
    blends = cfg.model.data_preprocessor.blending.augments
    assert [b.alpha for b in blends] == [0.8, 1.0]
    head = cfg.model.cls_head
    assert {b.num_classes for b in blends} == {head.num_classes} == {classes}
    assert head.label_smooth_eps == 0.1 and head.average_clips == 'prob'
    assert cfg.model.backbone.drop_path_rate == 0.1
    assert cfg.test_pipeline[1].num_clips == clips


@pytest.mark.parametrize(('size', 'depth'), [('b', 12), ('l', 24)])
def test_parameter_groups(size, depth):
    """Tokenizer 0, block i -> i + 1, the rest last; 0.75 ** (last - id)."""
    cfg = config('ssv2', size)
    cfg.model.backbone.update(embed_dims=16, num_heads=2)
    cfg.model.cls_head.in_channels = 16
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, {**cfg.optim_wrapper, 'type': 'OptimWrapper'})
    groups = wrapper.optimizer.param_groups
    found = {id(p): group for group in groups for p in group['params']}
    assert sum(len(group['params']) for group in groups) == len(found)
    seen = set()
    for name, parameter in model.named_parameters():
        group = found.pop(id(parameter))
        if block := re.match(r'backbone\.blocks\.(\d+)\.', name):
            layer = int(block[1]) + 1
        elif name.startswith('backbone.patch_embed.'):
            layer = 0
        else:
            assert name.startswith(('backbone.fc_norm.', 'cls_head.fc_cls.')), name
            layer = depth + 1
        seen.add(layer)
        assert group['lr'] == pytest.approx(1e-3 * 0.75 ** (depth + 1 - layer)), name
        assert group['weight_decay'] == (0 if parameter.ndim == 1 else 0.05), name
    assert not found and seen == set(range(depth + 2))
    # The positions are not trained.
    assert 'backbone.pos_embed' in dict(model.named_buffers())


# Augmentation


def augmentation(cfg, **changes):
    """The training pipeline behind the decoder, up to the erasing."""
    steps = cfg.train_pipeline
    kinds = [step.type for step in steps]
    steps = steps[kinds.index('DecordDecode') + 1 : kinds.index('FormatShape')]
    steps[-1].transforms[0].update(changes)
    return Compose(steps)


def still_clip(frames=4, size=(60, 80)):
    img = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    img = cv2.GaussianBlur(img, (9, 9), 0)
    imgs = [img.copy() for _ in range(frames)]
    return dict(imgs=imgs, img_shape=size, modality='RGB')


def black_clip(frames=4, side=64):
    return dict(imgs=[np.zeros((side, side, 3), np.uint8) for _ in range(frames)])


@pytest.mark.parametrize('dataset', DATASET_NAMES)
def test_a_still_clip_stays_still(dataset):
    """Every operation, crop and flip is the same on all frames, another in a clip."""
    transform = augmentation(config(dataset), erase_prob=0.0)
    clips = [np.stack(transform(still_clip())['imgs']) for _ in range(8)]
    for clip in clips:
        assert clip.shape == (4, 224, 224, 3) and clip.dtype == np.uint8
        assert (clip == clip[:1]).all()
    assert len({clip.tobytes() for clip in clips}) == 8


def test_rand_augment_is_the_published_one():
    _, transform, _ = augmentation(config('ssv2')).transforms[0].transforms.transforms
    assert (transform.num_policies, transform.magnitude_std) == (4, 0.5)
    assert (transform.magnitude_level, transform.total_level) == (7, 10)
    assert len(transform.transforms) == 15
    assert {t.prob for t in transform.transforms} == {0.5}
    # An empty border is gray, not red: MMCV fills with a number in one channel only.
    rotate = next(t for t in transform.transforms if type(t).__name__ == 'Rotate')
    rotate.prob, white = 1.0, np.full((40, 40, 3), 255, np.uint8)
    assert rotate(dict(img=white))['img'][0, 0].tolist() == [128, 128, 128]


def test_erasing_takes_the_same_box_from_every_frame():
    erase = augmentation(config('ssv2'), erase_prob=1.0).transforms[-1]
    corners = set()
    for _ in range(20):
        clip = np.stack(erase(black_clip())['imgs'])
        erased = clip.any(-1)
        for frame in erased:
            rows, columns = frame.any(1).nonzero()[0], frame.any(0).nonzero()[0]
            box = (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1)
            assert frame[box[0] : box[1], box[2] : box[3]].mean() > 0.98
            assert (erased[0].any(1) == frame.any(1)).all()
            assert (erased[0].any(0) == frame.any(0)).all()
        area = (box[1] - box[0]) * (box[3] - box[2]) / 64**2
        assert 0.015 < area < 0.35
        corners.add(box)
        # Standard normal after normalisation, clipped where pixels end.
        noise = clip[:, box[0] : box[1], box[2] : box[3]]
        assert not (noise[0] == noise[1]).all()
        np.testing.assert_allclose(
            noise.mean((0, 1, 2)), [123.7, 116.3, 103.5], rtol=0.2
        )
    assert len(corners) > 15


def test_a_quarter_of_the_clips_is_erased():
    erase = augmentation(config('ssv2')).transforms[-1]
    erased = [np.any(erase(black_clip(2, 8))['imgs']) for _ in range(1000)]
    assert np.mean(erased) == pytest.approx(0.25, abs=0.05)


def blend(transform, classes=4):
    """Blend clips whose pixels are their class; returns both as shares."""
    imgs = torch.arange(classes).float().view(-1, 1, 1, 1, 1, 1)
    imgs = imgs.repeat(1, 1, 3, 4, 16, 20)
    samples = [ActionDataSample().set_gt_label(i) for i in range(classes)]
    imgs, samples = transform(imgs, samples)
    return imgs, torch.stack([s.gt_label for s in samples])


def test_cutmix_cuts_rows_and_columns_of_every_frame():
    transform = MODELS.build(dict(type='CutmixBlending', alpha=1.0, num_classes=4))
    replaced = []
    for _ in range(40):
        imgs, labels = blend(transform)
        for own, (img, label) in enumerate(zip(imgs[:, 0], labels, strict=True)):
            other = img != own
            assert (other == other[:1, :1]).all()  # all channels and frames alike
            frame = other[0, 0]
            assert (frame == frame.any(1)[:, None] & frame.any(0)).all()  # a rectangle
            assert_close(
                label, torch.stack([(img == k).float().mean() for k in range(4)])
            )
            replaced.append(frame.float().mean().item())
    assert min(replaced) < 0.1 and max(replaced) > 0.5


def test_mixup_and_cutmix_take_turns_by_batch():
    transform = MODELS.build(config('k400').model.data_preprocessor.blending)
    mixed = []
    for _ in range(200):
        imgs, labels = blend(transform, classes=4)
        assert labels.shape == (4, 400)
        assert_close(labels.sum(1), torch.ones(4))
        mixed.append(bool((imgs != imgs.round()).any()))
    assert np.mean(mixed) == pytest.approx(0.5, abs=0.15)


def test_loss_smooths_the_blended_labels():
    cfg = config('ssv2').model.cls_head
    cfg.in_channels = 8
    head = MODELS.build(cfg)
    head.init_weights()
    assert head.fc_cls.weight.std().item() == pytest.approx(2e-5, rel=0.1)
    features = torch.randn(3, 8)
    labels = torch.rand(3, 174).softmax(1)
    samples = [ActionDataSample().set_gt_label(label) for label in labels]
    loss = head.loss(features, samples)['loss_cls']
    smooth = 0.9 * labels + 0.1 / 174
    expected = -(smooth * head(features).log_softmax(1)).sum(1).mean()
    assert_close(loss, expected, rtol=1e-5, atol=0)


# Test views, from files


def numbered_video(num_frames, height, width):
    """A texture, and in the middle of it the frame's number in nine blocks."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (height // 2, width // 2)).astype(np.uint8)
    texture = texture.repeat(2, 0).repeat(2, 1)
    video = np.repeat(texture[None], num_frames, 0)
    h, w = height // 2 - 54, width // 2 - 6
    for bit in range(9):
        rows = slice(h + 12 * bit, h + 12 * bit + 12)
        value = (np.arange(num_frames) >> bit & 1) * 255
        video[:, rows, w : w + 12] = value[:, None, None]
    return np.repeat(video[..., None], 3, -1)


def read_view(view, source, scale):
    """Find where a view was cut from a resized frame, and read the frames' numbers."""
    frames = view[0].numpy().astype(np.float32)  # one channel, (T, 224, 224)
    height, width = (round(side * scale) for side in source.shape)
    whole = cv2.resize(source, (width, height)).astype(np.float32)
    spare = (height - 224, width - 224)
    corners = [(y, x) for y in range(spare[0] + 1) for x in range(spare[1] + 1)]
    errors = [
        np.abs(frames[0] - whole[y : y + 224, x : x + 224]).mean() for y, x in corners
    ]
    y, x = corners[int(np.argmin(errors))]
    center_x = round(source.shape[1] / 2 * scale) - x
    top = (source.shape[0] / 2 - 54) * scale - y
    rows = [round(top + (12 * bit + 6) * scale) for bit in range(9)]
    bits = frames[:, rows, center_x] > 127
    return (y, x), (bits * 2 ** np.arange(9)).sum(1).tolist()


def stated_clips(dataset, n):
    if dataset == 'ssv2':
        tick = n / 16
        return [
            [int(tick * x) for x in range(16)],
            [int(tick / 2 + tick * x) for x in range(16)],
        ]
    frames = list(range(0, n, 4))
    m = len(frames)
    frames += [frames[-1]] * (16 - m)
    starts = [int(k * max(m - 16, 0) / 4) for k in range(5)]
    return [frames[start : start + 16] for start in starts]


@pytest.mark.parametrize('dataset', DATASET_NAMES)
@pytest.mark.parametrize(
    ('num_frames', 'height', 'width'),
    [(1, 168, 226), (7, 168, 226), (33, 226, 168), (100, 168, 226), (400, 168, 226)],
)
def test_views_of_a_real_file(dataset, num_frames, height, width, tmp_path):
    """Frames and crops read back from pixels: H.264, decord, the shipped pipeline."""
    video = numbered_video(num_frames, height, width)
    (tmp_path / 'a.mp4').write_bytes(encode_video(video, fps=12))
    (tmp_path / 'list.txt').write_text('a.mp4 3')
    cfg = config(dataset).test_dataloader.dataset
    cfg.ann_file, cfg.data_prefix = (
        str(tmp_path / 'list.txt'),
        dict(video=str(tmp_path)),
    )
    packed = DATASETS.build(cfg)[0]
    views = packed['inputs']
    assert views.dtype == torch.uint8 and views.shape[1:] == (3, 16, 224, 224)
    assert packed['data_samples'].filename == str(tmp_path / 'a.mp4')

    # 226 becomes 301: 77 pixels to spare, an odd number.
    crops = [(0, k * 77 // 2) if width > height else (k * 77 // 2, 0) for k in range(3)]
    clips = stated_clips(dataset, num_frames)
    expected = [(crop, frames) for crop in crops for frames in clips]
    for view, (crop, frames) in zip(views, expected, strict=True):
        assert read_view(view, video[frames[0], ..., 0], 4 / 3) == (crop, frames)


# Testing


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    """Seven videos, options that make the shipped SSv2 config narrow, a checkpoint."""
    init_default_scope('mmaction')
    root = tmp_path_factory.mktemp('finetune')
    lines = write_videos(root / 'videos', count=7, frames=20)
    (root / 'list.txt').write_text('\n'.join(lines))
    options = {f'model.backbone.{k}': v for k, v in TINY_ENCODER.items()} | {
        'model.backbone.img_size': 64,
        'model.cls_head.in_channels': 16,
        'model.cls_head.init_std': 1.0,  # for scores that differ
        'optim_wrapper.paramwise_cfg.num_layers': 1,
        'train_dataloader.batch_size': 2,
        'train_cfg.max_epochs': 2,
        'param_scheduler.0.end': 1,
        'param_scheduler.1.begin': 1,
    }
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        options |= {
            f'{loader}.num_workers': 0,
            f'{loader}.persistent_workers': False,
            f'{loader}.dataset.ann_file': root / 'list.txt',
            f'{loader}.dataset.data_prefix.video': root / 'videos',
        }
    cfg = config('ssv2')
    cfg.merge_from_dict(options)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), root / 'model.pth')
    return SimpleNamespace(root=root, options=options)


def run_test(toy, checkpoint=None, **options):
    """Test through tools/test.py; returns file names, scores and labels."""
    dump = toy.root / 'dump.pkl'
    arguments = [checkpoint or toy.root / 'model.pth', '--work-dir', toy.root / 'test']
    run_tool('test', SSV2, *arguments, '--dump', dump, **toy.options | options)
    return read_dump(dump)


def read_dump(path):
    with open(path, 'rb') as file:
        results = pickle.load(file)
    path.unlink()
    return (
        [Path(r['filename']).name for r in results],
        torch.stack([r['pred_score'] for r in results]),
        [r['gt_label'].item() for r in results],
    )


def assert_same_test(found, expected):
    assert found[0] == expected[0] and found[2] == expected[2]
    assert_close(found[1], expected[1], rtol=1e-4, atol=1e-7)


@pytest.fixture(scope='module')
def tested(toy):
    return run_test(toy)


def test_every_video_is_tested_once(toy, tested):
    names, scores, labels = tested
    assert names == [f'{i}.mp4' for i in range(7)]
    assert labels == [i % 2 for i in range(7)]
    assert scores.shape == (7, 174)
    # Averaged after the softmax: probabilities, and not those of any one view.
    assert_close(scores.sum(1), torch.ones(7))
    assert len({tuple(s.tolist()) for s in scores}) == 7


@pytest.mark.parametrize(
    'option',
    [('test_dataloader.batch_size', 3), ('model.test_cfg.max_testing_views', 4)],
)
def test_result_does_not_depend_on_how_views_are_batched(toy, tested, option):
    assert_same_test(run_test(toy, **dict([option])), tested)


def test_mmaction_views_by_option(toy, tested):
    step = 'test_dataloader.dataset.pipeline.{}.type'.format
    views = {step(1): 'UniformSample', step(4): 'ThreeCrop'}
    names, scores, _ = run_test(toy, **views)
    assert names == tested[0]
    assert not torch.allclose(scores, tested[1], rtol=1e-4)


@pytest.mark.parametrize('world_size', [2, pytest.param(3, marks=pytest.mark.slow)])
def test_result_does_not_depend_on_processes(toy, tested, world_size, tmp_path):
    """Seven videos: none of these numbers of processes divides them."""
    dump = tmp_path / 'dump.pkl'
    result = run_command(
        ROOT / 'tools/dist_test.sh',
        *(SSV2, toy.root / 'model.pth', world_size),
        *('--work-dir', tmp_path, '--dump', dump, '--cfg-options'),
        *(f'{key}={value}' for key, value in toy.options.items()),
        OMP_NUM_THREADS='1',
        PORT=free_port(),
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert re.search(r'acc/top1: .*acc/top5: .*acc/mean1: ', result.stdout)
    assert_same_test(read_dump(dump), tested)


# Training


def train(toy, work_dir, *arguments, **options):
    arguments = ['--work-dir', work_dir, *arguments]
    run_tool('train', SSV2, *arguments, **toy.options | options)


@pytest.mark.parametrize(
    ('kind', 'share'),
    [('ExponentialMovingAverage', 0.25), ('StochasticWeightAverage', 0.5)],
)
def test_averaged_weights_are_tested_and_resumed(kind, share, toy, tmp_path):
    """Two epochs of one step; then the second once more, from the first."""
    ema = {'default_hooks.ema.type': 'EMAHook', 'default_hooks.ema.ema_type': kind}
    if kind == 'ExponentialMovingAverage':
        ema['default_hooks.ema.momentum'] = share
    options = ema | {
        'default_hooks.checkpoint.interval': 1,
        'train_dataloader.dataset.indices': 2,
        'optim_wrapper.optimizer.lr': 0.1,
    }
    train(toy, tmp_path, '--no-validate', **options)

    saved = [torch.load(tmp_path / f'epoch_{epoch}.pth') for epoch in (1, 2)]
    first, second = (
        {
            name.removeprefix('module.'): value
            for name, value in checkpoint['ema_state_dict'].items()
            if name.startswith('module.')
        }
        for checkpoint in saved
    )
    average = {name: value.lerp(second[name], share) for name, value in first.items()}
    for name, value in saved[1]['state_dict'].items():
        assert_close(value, average[name], rtol=1e-5, atol=1e-6)
    head = 'cls_head.fc_cls.weight'
    assert not torch.allclose(average[head], second[head], rtol=1e-3)

    # The file is the averaged model, with the hook in the config as well.
    two = {'test_dataloader.dataset.indices': 2}
    torch.save(dict(state_dict=average), tmp_path / 'average.pth')
    expected = run_test(toy, tmp_path / 'average.pth', **two)
    found = run_test(toy, tmp_path / 'epoch_2.pth', **two, **ema)
    assert_same_test(found, expected)

    (tmp_path / 'epoch_2.pth').unlink()
    resume = ('--resume', tmp_path / 'epoch_1.pth')
    train(toy, tmp_path, '--no-validate', *resume, **options)
    resumed = torch.load(tmp_path / 'epoch_2.pth')
    assert resumed['meta']['iter'] == resumed['ema_state_dict']['steps'] == 2
    states = resumed['optimizer']['state'].values()
    assert {int(state['step']) for state in states} == {2}
    groups = (c['optimizer']['param_groups'] for c in (resumed, saved[1]))
    assert len({tuple(group['lr'] for group in part) for part in groups}) == 1


@pytest.mark.parametrize('source', ['pre-training', 'other classes'])
def test_encoder_is_kept_and_the_head_is_new(source, toy, tmp_path):
    cfg = config('ssv2', task='pretrain' if source == 'pre-training' else 'finetune')
    cfg.model.backbone.update(TINY_ENCODER, img_size=64)
    if source == 'pre-training':
        cfg.model.decoder.update(TINY_ENCODER)
        cfg.model.sampler.num_heads = 2
    else:
        cfg.model.cls_head.update(num_classes=5, in_channels=16)
    weights = MODELS.build(cfg.model).state_dict()
    torch.save(dict(state_dict=weights), tmp_path / 'source.pth')
    still = {
        'load_from': tmp_path / 'source.pth',
        'optim_wrapper.optimizer.lr': 0.0,
        'train_dataloader.dataset.indices': 2,
    }
    train(toy, tmp_path, '--no-validate', **still)
    tuned = torch.load(tmp_path / 'epoch_2.pth')['state_dict']
    for name, value in tuned.items():
        if name.startswith('cls_head.'):
            assert value.shape[0] == 174
        elif name in weights or source != 'pre-training':
            assert_close(value, weights[name], rtol=0, atol=0)
        else:
            assert name.startswith('backbone.fc_norm.')


def test_options_of_the_docs(toy, tmp_path):
    """Repeated augmentation, accumulation, checkpointing, best checkpoint."""
    (tmp_path / 'cut.mp4').write_bytes((toy.root / 'videos/0.mp4').read_bytes()[:99])
    lines = (toy.root / 'list.txt').read_text()
    lines = lines.replace('0.mp4', str(tmp_path / 'cut.mp4'))
    (tmp_path / 'list.txt').write_text(lines)
    train(
        toy,
        tmp_path,
        **{
            'val_dataloader.dataset.indices': 2,
            'train_dataloader.dataset.ann_file': tmp_path / 'list.txt',
            'train_dataloader.dataset.type': 'TolerantRepeatAugDataset',
            'train_dataloader.dataset.num_repeats': 2,
            'train_dataloader.dataset.sample_once': True,
            'train_dataloader.collate_fn.type': 'repeat_pseudo_collate',
            'optim_wrapper.accumulative_counts': 3,
            'model.backbone.with_cp': True,
        },
    )
    state = torch.load(tmp_path / 'epoch_2.pth')['optimizer']['state']
    # Seven videos in batches of two: twice three batches, two steps.
    assert {int(s['step']) for s in state.values()} == {2}
    assert (tmp_path / 'best_acc_top1_epoch_2.pth').is_file()


def test_repeated_augmentation_of_the_docs_keeps_clips_and_rate():
    page = (ROOT / 'docs/finetuning.md').read_text()
    (row,) = re.findall(r'\| repeated augmentation.*? \| `(.*?)`', page)
    cfg, plain = config('ssv2'), config('ssv2')
    cfg.merge_from_dict(dict(pair.split('=') for pair in row.split()))
    loader = cfg.train_dataloader
    repeats, videos = int(loader.dataset.num_repeats), int(loader.batch_size)
    assert loader.dataset.type == 'TolerantRepeatAugDataset'
    assert repeats * videos == plain.train_dataloader.batch_size
    # MMEngine scales the rate by videos a step over this number.
    base = int(cfg.auto_scale_lr.base_batch_size)
    assert base * repeats == plain.auto_scale_lr.base_batch_size


def test_views_of_the_docs(tmp_path):
    page = (ROOT / 'docs/finetuning.md').read_text()
    (text,) = re.findall(r"```python\n(_base_ = '\w+\.py'\ntest_.*?)```", page, re.S)
    (tmp_path / 'mine.py').write_text(text.replace("= '", f"= '{CONFIGS}/", 1))
    mine = Config.fromfile(tmp_path / 'mine.py').test_dataloader
    expected = config('ssv2').test_dataloader
    expected.dataset.pipeline[1].type = 'UniformSample'
    expected.dataset.pipeline[4].type = 'ThreeCrop'
    assert mine == expected


def test_repeated_augmentation_gives_copies_of_the_same_frames(toy):
    dataset = config('ssv2').train_dataloader.dataset
    dataset.update(type='TolerantRepeatAugDataset', num_repeats=3, sample_once=True)
    dataset.ann_file = str(toy.root / 'list.txt')
    dataset.data_prefix.video = str(toy.root / 'videos')
    clips = [copy['inputs'] for copy in DATASETS.build(dataset)[0]]
    assert len(clips) == 3 and {c.shape for c in clips} == {(1, 3, 16, 224, 224)}
    assert not torch.equal(clips[0], clips[1])

    # Without augmentation the copies are equal: one decoded clip.
    drawn = ('TransformBroadcaster', 'RandomResizedCropWithinRatio')
    dataset.pipeline = [s for s in dataset.pipeline if s.type not in drawn]
    clips = [copy['inputs'] for copy in DATASETS.build(dataset)[0]]
    assert torch.equal(clips[0], clips[1]) and torch.equal(clips[1], clips[2])
    assert not torch.equal(clips[0][:, :, 0], clips[0][:, :, 1])  # but no still
