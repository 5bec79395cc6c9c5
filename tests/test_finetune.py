"""Fine-tuning and its test: the shipped configs against the published protocol."""

import pickle
import re
from pathlib import Path
from types import SimpleNamespace

import cv2
import decord
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

from tests.helpers import (
    CONFIGS,
    ROOT,
    TINY,
    fork_pair,
    free_port,
    run_command,
    run_tool,
    toy_options,
    write_videos,
)

DATASET_NAMES = ('ssv2', 'k400')
SSV2 = CONFIGS / 'adamae_vitb_ssv2_finetune.py'


def config(dataset):
    return Config.fromfile(CONFIGS / f'adamae_vitb_{dataset}_finetune.py')


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


def test_parameter_groups():
    """Tokenizer 0, block i -> i + 1, the rest last; 0.75 ** (last - id)."""
    cfg = config('ssv2')
    cfg.model.backbone.update(TINY)
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
            layer = 13
        seen.add(layer)
        assert group['lr'] == pytest.approx(1e-3 * 0.75 ** (13 - layer)), name
        assert group['weight_decay'] == (0 if parameter.ndim == 1 else 0.05), name
    assert not found and seen == set(range(14))
    # The positions are not trained.
    assert 'backbone.pos_embed' in dict(model.named_buffers())


# Augmentation


def augmentation(cfg, **changes):
    """The training pipeline behind the decoder, up to the erasing."""
    steps = cfg.train_pipeline
    kinds = [step.type for step in steps]
    steps = steps[kinds.index('PyAVSkipDecode') + 1 : kinds.index('FormatShape')]
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
    boxes = set()
    for _ in range(20):
        clip = np.stack(erase(black_clip())['imgs'])
        _, rows, columns, _ = clip.nonzero()
        box = (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1)
        boxes.add(box)
        noise = clip[:, box[0] : box[1], box[2] : box[3]]
        assert all(frame.any(-1).mean() > 0.98 for frame in noise)
        assert 0.015 < noise[0, ..., 0].size / 64**2 < 0.35
        # Standard normal after normalization, clipped where pixels end.
        assert not (noise[0] == noise[1]).all()
        np.testing.assert_allclose(
            noise.mean((0, 1, 2)), [123.7, 116.3, 103.5], rtol=0.2
        )
    assert len(boxes) > 15


def test_a_quarter_of_the_clips_is_erased():
    erase = augmentation(config('ssv2')).transforms[-1]
    erased = [np.any(erase(black_clip(2, 8))['imgs']) for _ in range(1000)]
    assert np.mean(erased) == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize('dataset', DATASET_NAMES)
def test_mixup_and_cutmix_take_turns_by_batch(dataset):
    """Blends clips whose pixels are their class."""
    blending = MODELS.build(config(dataset).model.data_preprocessor.blending)
    classes, mixed = torch.arange(4.0), []
    for _ in range(200):
        imgs = classes.view(-1, 1, 1, 1, 1, 1).repeat(1, 1, 3, 4, 16, 20)
        samples = [ActionDataSample().set_gt_label(i) for i in range(4)]
        imgs, samples = blending(imgs, samples)
        labels = torch.stack([sample.gt_label for sample in samples])
        assert_close(labels.sum(1), torch.ones(4))
        assert_close(
            labels[:, :4] @ classes, imgs.mean((1, 2, 3, 4, 5)), rtol=1e-4, atol=1e-4
        )
        assert (imgs == imgs[:, :, :1, :1]).all()  # all channels and frames alike
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


@pytest.mark.parametrize(('height', 'width'), [(168, 224), (224, 168)])
@pytest.mark.parametrize(
    ('dataset', 'clips'),
    [
        ('ssv2', [[int(6.25 * (x + y)) for x in range(16)] for y in (0, 0.5)]),
        # Of every fourth frame, five times sixteen.
        ('k400', [[4 * (x + y) for x in range(16)] for y in (0, 2, 4, 6, 9)]),
    ],
)
def test_views_of_a_real_file(dataset, clips, height, width, tmp_path):
    """Frames and crops of a file of 100 frames: H.264, the shipped pipeline."""
    (line,) = write_videos(tmp_path, count=1, frames=100, size=(height, width))
    (tmp_path / 'list.txt').write_text(line)
    cfg = config(dataset).test_dataloader.dataset
    cfg.ann_file = str(tmp_path / 'list.txt')
    cfg.data_prefix = dict(video=str(tmp_path))
    packed = DATASETS.build(cfg)[0]
    views = packed['inputs']
    assert views.dtype == torch.uint8 and views.shape[1:] == (3, 16, 224, 224)
    assert packed['data_samples'].filename == str(tmp_path / '0.mp4')

    reader = decord.VideoReader(str(tmp_path / '0.mp4'), num_threads=1)
    frames = reader.get_batch(range(100)).asnumpy()
    # 224 becomes 299: 75 pixels to spare, an odd number.
    shape = (224, 299) if width > height else (299, 224)
    resized = np.stack([cv2.resize(frame, shape[::-1]) for frame in frames])
    crops = [(0, k * 75 // 2)[:: 1 if width > height else -1] for k in range(3)]
    expected = [
        resized[clip, y : y + 224, x : x + 224] for y, x in crops for clip in clips
    ]
    found = views.permute(0, 2, 3, 4, 1).numpy()
    assert np.array_equal(found, expected)


# Testing


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    """Seven videos, options that make the shipped SSv2 config narrow, a checkpoint."""
    init_default_scope('mmaction')
    root = tmp_path_factory.mktemp('finetune')
    lines = write_videos(root / 'videos', count=7, frames=20)
    (root / 'list.txt').write_text('\n'.join(lines))
    cfg = config('ssv2')
    # For scores that differ.
    options = toy_options(cfg, root) | {'model.cls_head.init_std': 1.0}
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


def test_result_does_not_depend_on_processes(toy, tested, tmp_path):
    """Seven videos: no multiple of two."""
    dump = tmp_path / 'dump.pkl'
    arguments = (SSV2, toy.root / 'model.pth', '--work-dir', tmp_path, '--dump', dump)
    processes = fork_pair(tmp_path, 'test', *arguments, **toy.options)
    for process in processes:
        process.join(180)
        process.kill()
    said = (tmp_path / '0.txt').read_text()
    assert [process.exitcode for process in processes] == [0, 0], said
    assert re.search(r'acc/top1: .*acc/top5: .*acc/mean1: ', said)
    assert_same_test(read_dump(dump), tested)


@pytest.mark.slow
def test_launcher_of_tests(toy, tested, tmp_path):
    """Three processes."""
    dump = tmp_path / 'dump.pkl'
    result = run_command(
        ROOT / 'tools/dist_test.sh',
        *(SSV2, toy.root / 'model.pth', 3),
        *('--work-dir', tmp_path, '--dump', dump, '--cfg-options'),
        *(f'{key}={value}' for key, value in toy.options.items()),
        OMP_NUM_THREADS='1',
        # As for runs over several machines.
        **dict(PORT=free_port(), MASTER_ADDR='127.0.0.1', NODE_RANK='0'),
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
    before, after = (
        checkpoint['message_hub']['log_scalars']['train/loss'].data[0].tolist()
        for checkpoint in (saved[0], resumed)
    )
    assert len(before) == 1 and len(after) == 2 and after[0] == before[0]


def test_encoder_is_kept_and_the_head_is_new(toy, tmp_path):
    cfg = config('ssv2')
    cfg.model.backbone.update(TINY, depth=1, img_size=64)
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
        else:
            assert torch.equal(value, weights[name]), name


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
            'train_dataloader.dataset.allow_outside_prefix': True,
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


def test_docs(tmp_path):
    page = (ROOT / 'docs/finetuning.md').read_text()
    (row,) = re.findall(r'\| repeated augmentation.*? \| `(.*?)`', page)
    cfg, plain = config('ssv2'), config('ssv2')
    cfg.merge_from_dict(dict(pair.split('=') for pair in row.split()))
    loader = cfg.train_dataloader
    repeats, videos = int(loader.dataset.num_repeats), int(loader.batch_size)
    assert loader.dataset.type == 'TolerantRepeatAugDataset'
    assert repeats * videos == plain.train_dataloader.batch_size
    assert cfg.auto_scale_lr == plain.auto_scale_lr  # counts clips

    (text,) = re.findall(r"```python\n(_base_ = '\w+\.py'\ntest_.*?)```", page, re.S)
    (tmp_path / 'mine.py').write_text(text.replace("= '", f"= '{CONFIGS}/", 1))
    mine = Config.fromfile(tmp_path / 'mine.py').test_dataloader
    plain.test_dataloader.dataset.pipeline[1].type = 'UniformSample'
    plain.test_dataloader.dataset.pipeline[4].type = 'ThreeCrop'
    assert mine == plain.test_dataloader


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
