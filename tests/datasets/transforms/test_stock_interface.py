"""Transforms take what MMAction2's transforms take whose places they take."""

import numpy as np
import pytest
from mmaction.datasets.transforms import (
    DecordDecode,
    DecordInit,
    Fuse,
    RandomCrop,
    SampleFrames,
)

from projects.adamae.datasets.transforms import (
    EvenThreeCrop,
    MultiScaleCropWithinFrame,
    PyAVSkipDecode,
    PyAVSkipInit,
    RandomResizedCropWithinRatio,
    RepeatLastSampleFrames,
)


@pytest.mark.parametrize('lazy', [False, True])
def test_multi_scale_crop_reads_the_size_of_frames_it_is_not_told(lazy):
    frames = [np.zeros((222, 300, 3), np.uint8)] * 2
    results = MultiScaleCropWithinFrame(224, lazy=lazy)(dict(imgs=frames))
    if lazy:
        results = Fuse()(results)
    assert {img.shape[:2] for img in results['imgs']} == {results['img_shape']}


def test_three_crops_refuse_a_crop_that_is_not_made_yet():
    results = dict(imgs=[np.zeros((256, 256, 3), np.uint8)])
    results = RandomCrop(224, lazy=True)(results)
    with pytest.raises(AssertionError, match='Fuse'):
        EvenThreeCrop(256)(results)


@pytest.mark.parametrize(
    'ranges',
    [
        dict(area_range=(0.9, 0.7)),
        dict(area_range=(0.5, 1.5)),
        dict(area_range=(0.0, 1.0)),
        dict(aspect_ratio_range=(-0.1, 2.0)),
    ],
)
def test_resized_crop_refuses_ranges_without_a_crop(ranges):
    (name,) = ranges
    with pytest.raises(ValueError, match=f'expected {name}='):
        RandomResizedCropWithinRatio(**ranges)


@pytest.mark.parametrize('test_mode', [False, True])
def test_single_frames_include_the_last_one(test_mode):
    arguments = dict(clip_len=1, num_clips=8, test_mode=test_mode)
    inds = [
        sampler(**arguments)(dict(total_frames=6, start_index=1))['frame_inds']
        for sampler in (RepeatLastSampleFrames, SampleFrames)
    ]
    np.testing.assert_array_equal(*inds)
    assert inds[0].max() == 6


def test_loaders_are_printed_like_those_of_decord():
    assert repr(PyAVSkipInit()) == repr(DecordInit()).replace('Decord', 'PyAVSkip')
    assert repr(PyAVSkipDecode()) == repr(DecordDecode()).replace('Decord', 'PyAVSkip')
