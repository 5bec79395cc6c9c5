"""Tests of StridedSampleFrames against the published rule."""

import numpy as np
import pytest
from mmaction.registry import TRANSFORMS


def sample(num_frames, name='StridedSampleFrames', **kwargs):
    cfg = dict(type=name, clip_len=16, frame_interval=4, num_clips=5, test_mode=True)
    transform = TRANSFORMS.build(cfg | kwargs)
    return transform(dict(total_frames=num_frames, start_index=0))


@pytest.mark.parametrize('num_clips', [5, 7])
def test_published_test_clips(num_clips):
    for n in range(1, 401):
        frames = list(range(0, n, 4))
        spare = max(len(frames) - 16, 0)
        frames += [frames[-1]] * (16 - len(frames))
        starts = [k * spare // (num_clips - 1) for k in range(num_clips)]
        results = sample(n, num_clips=num_clips)
        clips = results['frame_inds'].reshape(num_clips, 16)
        assert clips.tolist() == [frames[s : s + 16] for s in starts], n
        assert results['clip_len'] == 16 and results['num_clips'] == num_clips


def test_one_clip_is_the_first():
    assert sample(400, num_clips=1)['frame_inds'].tolist() == list(range(0, 64, 4))


def test_training_clips_are_those_of_mmaction():
    arguments = dict(num_clips=1, test_mode=False, out_of_bound_opt='repeat_last')
    for n in (1, 30, 64, 400):
        np.random.seed(n)
        ours = sample(n, **arguments)
        np.random.seed(n)
        theirs = sample(n, 'SampleFrames', **arguments)
        np.testing.assert_array_equal(ours['frame_inds'], theirs['frame_inds'])


def test_mmaction_has_other_test_clips_under_the_same_arguments():
    """Where this fails, MMAction2 samples as published and this class can go."""
    theirs, ours = sample(300, 'SampleFrames'), sample(300)
    assert theirs.keys() == ours.keys()
    assert not np.array_equal(theirs['frame_inds'], ours['frame_inds'])


@pytest.mark.parametrize('option', [dict(twice_sample=True), dict(target_fps=30)])
def test_options_without_a_published_rule_are_rejected(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))}.*type='SampleFrames'"):
        sample(300, **option)
    sample(300, num_clips=1, test_mode=False, **option)  # as in MMAction2
