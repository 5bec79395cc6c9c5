"""Tests of SegmentSampleFrames against the published rule."""

import numpy as np
import pytest
from mmaction.registry import TRANSFORMS


def sample(num_frames, start_index=0, name='SegmentSampleFrames', **kwargs):
    transform = TRANSFORMS.build(dict(type=name, clip_len=16, **kwargs))
    return transform(dict(total_frames=num_frames, start_index=start_index))


def test_published_test_clips():
    for n in range(1, 401):
        tick = n / 16
        results = sample(n, num_clips=2, test_mode=True)
        first, second = results['frame_inds'].reshape(2, 16)
        assert first.tolist() == [int(tick * x) for x in range(16)], n
        assert second.tolist() == [int(tick / 2 + tick * x) for x in range(16)], n
        assert results['clip_len'] == 16 and results['num_clips'] == 2
    assert sample(16, start_index=1, test_mode=True)['frame_inds'][0] == 1


@pytest.mark.parametrize('num_clips', [1, 3])
def test_training_clips_take_one_frame_per_segment(num_clips):
    for n in range(1, 401):
        clips = sample(n, num_clips=num_clips)['frame_inds'].reshape(num_clips, 16)
        starts = n * np.arange(17) / 16
        assert (clips >= np.floor(starts[:-1])).all(), n
        assert (clips < np.ceil(starts[1:])).all(), n


def test_training_clips_are_random_and_use_every_frame():
    draws = np.stack([sample(37)['frame_inds'] for _ in range(400)])
    assert set(draws.ravel()) == set(range(37))
    # The first segment is [0, 37 / 16): frames 0, 1, and 5 / 37 of the time 2.
    shares = np.bincount(draws[:, 0], minlength=3) / 400
    np.testing.assert_allclose(shares, [16 / 37, 16 / 37, 5 / 37], atol=0.09)
    assert abs(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]) < 0.2


def test_mmaction_has_other_clips_under_the_same_arguments():
    """Where this fails, MMAction2 samples as published and this class can go."""
    arguments = dict(num_clips=2, test_mode=True)
    theirs = sample(100, name='UniformSample', **arguments)
    ours = sample(100, **arguments)
    assert theirs.keys() == ours.keys()
    assert not np.array_equal(theirs['frame_inds'], ours['frame_inds'])
