"""Clips of short videos in pre-training against the published rule."""

import numpy as np
import pytest
from mmaction.registry import TRANSFORMS
from mmengine.config import Config

from projects.adamae.datasets.from_config import center_clip_pipeline
from tests.helpers import CONFIGS

# All other sizes derive from these.
RECIPES = [
    *CONFIGS.glob('adamae_vitb_*_pretrain.py'),
    *CONFIGS.glob('maest_vitl_*_pretrain.py'),
]


def published(num_frames, interval, start=0):
    """16 frames that stop before the last one; ``start`` counts from 0."""
    frames = [start]
    while len(frames) < 16:
        after = frames[-1] + interval
        frames.append(after if after < num_frames - 1 else frames[-1])
    return frames


def sample(cfg, num_frames):
    return TRANSFORMS.build(cfg)(dict(total_frames=num_frames, start_index=0))


def sampling_step(path):
    pipeline = Config.fromfile(path).train_dataloader.dataset.pipeline
    (step,) = (s for s in pipeline if s.type.endswith('SampleFrames'))
    return step


def test_all_pretraining_recipes_repeat_the_last_frame():
    assert len(RECIPES) == 8
    steps = {path.stem: sampling_step(path) for path in RECIPES}
    intervals = {name: step.pop('frame_interval') for name, step in steps.items()}
    assert all(
        interval == (2 if 'ssv2' in name or 'hmdb51' in name else 4)
        for name, interval in intervals.items()
    )
    for name, step in steps.items():
        assert step == steps['adamae_vitb_ssv2_pretrain'], name


@pytest.mark.parametrize('interval', [1, 2, 3, 4])
def test_published_clips_of_short_videos(interval):
    step = sampling_step(CONFIGS / 'adamae_vitb_ssv2_pretrain.py')
    step.frame_interval = interval
    for n in range(1, 16 * interval + 1):
        results = sample(step, n)
        assert results['frame_inds'].tolist() == published(n, interval), n
        assert results['frame_inds'].dtype == np.int32
        assert results['total_frames'] == n


def test_short_video_of_the_report():
    step = sampling_step(CONFIGS / 'adamae_vitb_ssv2_pretrain.py')
    for n in (20, 21):
        assert sample(step, n)['frame_inds'].tolist() == [*range(0, 19, 2), *6 * [18]]


@pytest.mark.parametrize('num_frames', [64, 65, 80, 300])
def test_clips_of_other_videos_are_those_of_mmaction(num_frames):
    step = dict(clip_len=16, frame_interval=4, num_clips=1)
    np.random.seed(0)
    ours = [
        sample(dict(step, type='RepeatLastSampleFrames'), num_frames)['frame_inds']
        for _ in range(60)
    ]
    np.random.seed(0)
    theirs = [
        sample(dict(step, type='SampleFrames'), num_frames)['frame_inds']
        for _ in range(60)
    ]
    np.testing.assert_array_equal(ours, theirs)
    assert all(list(c) == published(num_frames, 4, c[0]) for c in ours)
    starts = {clip[0] for clip in ours}
    assert min(starts) >= 0 and max(starts) <= num_frames - 64


def test_mmaction_has_other_clips_of_short_videos():
    """Where this fails, MMAction2 samples as published and the class can go."""
    step = dict(type='SampleFrames', clip_len=16, frame_interval=2)
    for option in ('loop', 'repeat_last'):
        clip = sample(dict(step, out_of_bound_opt=option), 21)['frame_inds']
        assert clip.tolist() != published(21, 2)


def test_features_of_short_videos_do_not_start_anew():
    """The pipeline made for a config that only trains."""
    step = center_clip_pipeline((16, 224, 224), frame_interval=2)[1]
    assert sample(step, 20)['frame_inds'].tolist() == [*range(0, 19, 2), *6 * [18]]
