"""Sampling by time: the same moments at every frame rate."""

from types import SimpleNamespace

import av
import numpy as np
import pytest
from mmengine.dataset import Compose

from projects.adamae import SampleFramesByTime
from projects.adamae.datasets.from_config import center_clip_pipeline, spacing
from projects.adamae.video.error import VideoError
from tests import numbered_videos

RATES = 10, 25, 30, 60
SECONDS = 4
FAST = dict(preset='ultrafast', bf='2')
TICKS = 90001  # a second, of the times that numbered_videos takes


@pytest.fixture(scope='module', params=['mp4', 'mkv', 'avi'])
def videos(request, tmp_path_factory):
    """Videos of four seconds whose frames show their numbers; MKV rounds times.

    AVI is not read by index: times come from the average rate.
    """
    folder = tmp_path_factory.mktemp('videos')
    made = {}
    for rate in RATES:
        made[rate] = str(folder / f'{rate}.{request.param}')
        with av.open(made[rate], 'w') as container:
            stream = container.add_stream('libx264', rate=rate, options=FAST)
            stream.height, stream.width = numbered_videos.SIZE
            stream.pix_fmt = 'yuv420p'
            stream.codec_context.thread_count = 1
            for number in range(rate * SECONDS):
                image = numbered_videos.picture(number)
                frame = av.VideoFrame.from_ndarray(image, format='rgb24')
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return made


def numbers(path, seed=0, **sample):
    """The numbers in the frames that a pipeline gives, (clips, clip_len)."""
    np.random.seed(seed)
    steps = [dict(type='PyAVSkipInit'), dict(type='SampleFramesByTime', **sample)]
    video = dict(filename=path, start_index=0)
    results = Compose([*steps, dict(type='PyAVSkipDecode')])(video)
    found = [numbered_videos.number_of(image) for image in results['imgs']]
    assert found == results['frame_inds'].tolist()
    return np.array(found).reshape(results['num_clips'], results['clip_len'])


def shown_at(moments, rate):
    """The frame that is shown at a moment in milliseconds, in whole numbers."""
    return np.minimum(moments * rate // 1000, rate * SECONDS - 1)


def test_views_are_the_same_moments_at_every_rate(videos):
    """5 frames a second, 8 frames: 1.6 s of 4; starts at 0, 0.6, 1.2, 1.8, 2.4."""
    moments = 200 * np.arange(8) + 600 * np.arange(5)[:, None]
    sample = dict(clip_len=8, frames_per_second=5, num_clips=5, test_mode=True)
    for rate, path in videos.items():
        np.testing.assert_array_equal(numbers(path, **sample), shown_at(moments, rate))


def test_one_view_is_in_the_middle(videos):
    sample = dict(clip_len=8, frames_per_second=10, test_mode=True)
    for rate, path in videos.items():
        expected = shown_at(1600 + 100 * np.arange(8), rate)
        assert numbers(path, **sample).tolist() == [expected.tolist()]


@pytest.mark.parametrize('num_clips', [1, 2])
def test_training_clips_are_the_same_moments_at_every_rate(videos, num_clips):
    sample = dict(clip_len=8, frames_per_second=5, num_clips=num_clips)
    for seed in range(5):
        np.random.seed(seed)
        spare = (SECONDS - 8 / 5) / num_clips
        starts = spare * (np.arange(num_clips) + np.random.rand(num_clips))
        for rate, path in videos.items():
            found = numbers(path, seed, **sample)
            # The frame began before the moment, and its successor after it; half a
            # millisecond is the rounding of the container.
            late = starts[:, None] + np.arange(8) / 5 - found / rate
            assert late.min() > -1e-3 and late.max() < 1 / rate + 1e-3
            assert len({*np.diff(found).ravel()}) <= 2


def test_more_frames_than_the_video_has_repeat_them(videos):
    found = numbers(videos[10], clip_len=40, frames_per_second=40, test_mode=True)
    assert found.tolist() == [[n for n in range(15, 25) for _ in range(4)]]


@pytest.mark.parametrize('test_mode', [False, True])
def test_short_videos_repeat_their_last_frame(videos, test_mode):
    for rate, path in videos.items():
        sample = dict(clip_len=6, frames_per_second=1, num_clips=2, test_mode=test_mode)
        expected = [0, rate, 2 * rate, 3 * rate, 4 * rate - 1, 4 * rate - 1]
        assert numbers(path, **sample).tolist() == [expected] * 2


def test_variable_rates_go_by_the_times_in_the_file(tmp_path):
    """20 frames a second, and after one second 5."""
    times = [*np.arange(20) / 20, *(1 + np.arange(11) / 5)]
    ticks = np.round(np.array(times) * TICKS)
    path = numbered_videos.write(
        tmp_path / 'a.mp4', 'libx264', frames=31, times=ticks, types='I'
    )
    found = numbers(path, clip_len=12, frames_per_second=4, num_clips=2, test_mode=True)
    assert found[0].tolist() == [0, 5, 10, 15, 20, 21, 22, 23, 25, 26, 27, 28]


def test_shifted_beginnings_do_not_count(tmp_path):
    """Times count from the first frame that is shown."""
    path = numbered_videos.write(tmp_path / 'a.mkv', 'libx264', frames=50, shift=-25)
    found = numbers(path, clip_len=5, frames_per_second=2.5, num_clips=2)
    assert found[:, 1:].min() >= 10


def test_no_rate_is_an_error():
    sample = SampleFramesByTime(clip_len=4, frames_per_second=2)
    info = dict(total_frames=9, start_index=0, filename='a.ts')
    with pytest.raises(VideoError, match='a.ts: expected a frame rate or the times'):
        sample({**info, 'avg_fps': 0})
    with pytest.raises(ValueError, match="put dict.type='PyAVSkipInit'.* PerClip"):
        sample(info)
    with pytest.raises(ValueError, match='frames_per_second: expected more than 0'):
        SampleFramesByTime(clip_len=4, frames_per_second=0)
    assert sample({**info, 'avg_fps': 2})['frame_inds'].dtype == np.int32


def test_single_frames_need_no_rate():
    sample = SampleFramesByTime(clip_len=3, frames_per_second=2, test_mode=True)
    reader = SimpleNamespace(times=np.zeros(1))
    info = dict(total_frames=1, start_index=1, avg_fps=0, video_reader=reader)
    assert sample(info)['frame_inds'].tolist() == [1, 1, 1]


def test_tools_that_read_the_center_of_a_video_keep_the_rate(videos):
    by_time = dict(type='SampleFramesByTime', clip_len=8, frames_per_second=5)
    assert spacing([dict(type='PyAVSkipInit'), by_time]) == dict(frames_per_second=5)
    assert spacing([dict(type='SampleFrames', frame_interval=3)])['frame_interval'] == 3
    assert spacing([]) == dict(frame_interval=1)
    steps = center_clip_pipeline((8, 64, 64), frames_per_second=5)[:2]
    found = Compose(steps)(dict(filename=videos[60], start_index=0))['frame_inds']
    assert found.tolist() == [72 + 12 * k for k in range(8)]
