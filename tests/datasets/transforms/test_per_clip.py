import random

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose

from projects.adamae import AdaMAEDataPreprocessor
from projects.adamae.datasets.transforms import PerClip
from projects.adamae.video.reader import VideoReader
from tests.helpers import ROOT
from tests.numbered_videos import write

CROP = dict(type='MultiScaleCrop', input_size=32, scales=(1, 0.5), random_crop=True)
RESIZE = dict(type='Resize', scale=(32, 32), keep_ratio=False)
FLIP = dict(type='Flip', flip_ratio=0.5)


def clips(count=1, length=3, size=(40, 60)):
    """Smooth frames whose positions can be told: row, column, frame."""
    row, column = np.mgrid[: size[0], : size[1]]
    imgs = [
        np.stack([row, column, np.full_like(row, i)], -1).astype(np.uint8)
        for i in range(count * length)
    ]
    shape = dict(img_shape=size, original_shape=size)
    return dict(imgs=imgs, num_clips=count, clip_len=length, modality='RGB', **shape)


def test_each_sample_has_one_crop_and_flip_of_its_own():
    results = PerClip([CROP, RESIZE, FLIP], repeats=8)(clips(2))
    assert results['num_clips'] == 16 and len(results['imgs']) == 48
    assert results['img_shape'] == (32, 32)
    samples = np.reshape(results['imgs'], (16, 3, 32, 32, 3))
    # Within a sample, frames are cut alike; they keep their order, clip after clip.
    assert (samples[:, :, ..., :2] == samples[:, :1, ..., :2]).all()
    times = samples[:, :, 0, 0, 2]
    assert (times[:8] == [0, 1, 2]).all() and (times[8:] == [3, 4, 5]).all()
    assert len({s[0, ..., :2].tobytes() for s in samples}) > 8
    flipped = samples[:, 0, 0, 0, 1] > samples[:, 0, 0, -1, 1]
    assert 0 < flipped.sum() < 16


@pytest.mark.parametrize(
    'transforms',
    [
        [dict(type='Flip', flip_ratio=1.0)],
        [dict(type='CenterCrop', crop_size=20), dict(type='Flip', flip_ratio=1.0)],
        [RESIZE, dict(type='Flip', flip_ratio=1.0)],
    ],
)
def test_samples_do_not_write_into_each_other(transforms):
    """MMAction2's Flip works in place: twice on one frame is not at all."""
    once = PerClip(transforms)(clips())['imgs']
    twice = PerClip(transforms, repeats=3)(clips())['imgs']
    assert np.array_equal(twice, once * 3)
    assert once[0][0, 0, 1] > once[0][0, -1, 1]


def test_one_repeat_of_one_clip_changes_nothing():
    random.seed(3), np.random.seed(3)
    ours = PerClip([CROP, RESIZE, FLIP])(clips())
    random.seed(3), np.random.seed(3)
    theirs = Compose([CROP, RESIZE, FLIP])(clips())
    assert ours.keys() == theirs.keys()
    assert np.array_equal(ours['imgs'], theirs['imgs'])


def test_four_crops_of_one_clip_are_one_decode_and_four_samples(tmp_path, monkeypatch):
    asked = []
    read = VideoReader.get_frames
    monkeypatch.setattr(
        VideoReader, 'get_frames', lambda s, i: asked.append(len(i)) or read(s, i)
    )
    pipeline = Compose(
        [
            dict(type='PyAVSkipInit'),
            dict(type='SampleFrames', clip_len=16, frame_interval=2, num_clips=1),
            dict(type='PyAVSkipDecode'),
            dict(type='PerClip', repeats=4, transforms=[CROP, RESIZE, FLIP]),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs'),
        ]
    )
    filename = write(tmp_path / 'a.mp4', 'libx264')
    packed = pipeline(dict(filename=filename, start_index=0, modality='RGB', label=1))
    assert asked == [16]
    inputs = packed['inputs']
    assert inputs.shape == (4, 3, 16, 32, 32) and inputs.dtype == torch.uint8
    # One block of memory, without gaps, so that it crosses to the device in one copy.
    assert inputs.untyped_storage().nbytes() == inputs.numel()
    preprocessor = AdaMAEDataPreprocessor(mean=[0, 0, 0], std=[1, 1, 1])
    data = preprocessor(
        dict(inputs=[inputs], data_samples=[packed['data_samples']]), training=True
    )
    assert data['inputs'].shape == (4, 3, 16, 32, 32) and len(data['data_samples']) == 4


def test_the_lines_of_the_documentation_work(tmp_path):
    blocks = (ROOT / 'docs/data.md').read_text('utf-8').split('```python\n')[1:]
    base = f"_base_ = '{ROOT}/configs/adamae_vitb_k400_pretrain.py'\n"
    pipelines = []
    for i, block in enumerate(b for b in blocks if '_base_.' in b):
        path = tmp_path / f'{i}.py'
        path.write_text(base + block.split('```')[0])
        cfg = Config.fromfile(path)
        pipelines.append(cfg.train_dataloader.dataset.pipeline)
        Compose(pipelines[-1])
    loader, repeats = ([t.type for t in pipeline] for pipeline in pipelines)
    assert loader[:3] == ['DecordInit', 'RepeatLastSampleFrames', 'DecordDecode']
    assert repeats[2:] == [
        'PyAVSkipDecode',
        'PerClip',
        'FormatShape',
        'PackActionInputs',
    ]
    assert cfg.train_dataloader.batch_size == 8


def test_what_is_rejected():
    with pytest.raises(ValueError, match='expected repeats of at least 1, got 0'):
        PerClip([], repeats=0)
    with pytest.raises(ValueError, match='multiple of num_clips=2 frames, got 3'):
        PerClip([])({**clips(), 'num_clips': 2})
    with pytest.raises(ValueError, match='samples of one size.*end its transforms'):
        PerClip([CROP], repeats=8)(clips())
