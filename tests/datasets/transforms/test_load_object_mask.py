"""Tests of LoadObjectMask, in MMAction2's own pipeline."""

import numpy as np
import pytest
from mmaction.registry import DATASETS, TRANSFORMS
from mmengine.registry import init_default_scope

from projects.adamae.datasets.preparers.motion_videos import (
    MotionSpec,
    make_dataset,
    render_video,
)
from projects.adamae.datasets.transforms import LoadObjectMask

SPEC = MotionSpec(num_train=1, num_val=3, num_frames=20)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    init_default_scope('mmaction')
    folder = tmp_path_factory.mktemp('motion')
    make_dataset(folder, SPEC)
    return folder


def build(root, *extra, **sampling):
    sampling = dict(clip_len=8, frame_interval=2, test_mode=True) | sampling
    return DATASETS.build(
        dict(
            type='VideoDataset',
            ann_file='val.txt',
            data_root=str(root),
            data_prefix=dict(video='videos'),
            test_mode=True,
            pipeline=[
                dict(type='DecordInit'),
                dict(type='SampleFrames', **sampling),
                dict(type='DecordDecode'),
                *extra,
                dict(
                    type='LoadObjectMask',
                    video_root=f'{root}/videos',
                    mask_root=f'{root}/object_masks',
                ),
                dict(type='FormatShape', input_format='NCTHW'),
                dict(type='PackActionInputs', algorithm_keys=('object_mask',)),
            ],
        )
    )


def test_sampled_frames_get_their_masks(root):
    dataset = build(root)
    for index in range(3):
        mask = dataset[index]['data_samples'].object_mask
        _, expected = render_video(SPEC, 'val', index)
        assert mask.dtype == bool
        # 20 frames, 8 of them 2 apart take 15: the middle one starts at 2.
        np.testing.assert_array_equal(mask, expected[2:18:2])


@pytest.mark.parametrize(
    ('extra', 'sampling', 'message'),
    [
        ([], dict(num_clips=2), 'one clip and no flip, got num_clips=2'),
        ([dict(type='Flip', flip_ratio=1)], {}, 'flip=True'),
        ([dict(type='CenterCrop', crop_size=24)], {}, r'of shape \(8, 24, 24, 3\)'),
    ],
)
def test_frames_that_do_not_fit(root, extra, sampling, message):
    with pytest.raises(ValueError, match=message):
        build(root, *extra, **sampling)[0]


def test_wrong_paths_and_frames(root):
    results = dict(
        filename=f'{root}/videos/val/00000.mp4',
        frame_inds=np.array([19, 20]),
        num_clips=1,
        start_index=0,
        imgs=[np.zeros((32, 32, 3), np.uint8)] * 2,
    )
    transform = LoadObjectMask(f'{root}/videos', f'{root}/object_masks')
    with pytest.raises(ValueError, match=r'\(20, 32, 32\), got frames up to 20'):
        transform(results)
    with pytest.raises(FileNotFoundError, match=r'elsewhere/val/00000\.npz'):
        LoadObjectMask(f'{root}/videos', 'elsewhere')(results)
    with pytest.raises(ValueError, match="video_root='clips'"):
        LoadObjectMask('clips', 'elsewhere')(results)
    assert 'LoadObjectMask' in TRANSFORMS
