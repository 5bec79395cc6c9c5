"""Clips that last as long in every video, whatever its frame rate."""

from __future__ import annotations

import numpy as np
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform

from projects.adamae_command import docs_page, tool_name

from ...video.error import VideoError

# Containers round the times of frames: Matroska to milliseconds, by up to half of one.
# In no video of up to 800 frames per second is that another frame.
_ROUNDING = 6e-4


@TRANSFORMS.register_module()
class SampleFramesByTime(BaseTransform):
    """Sample clips at moments in seconds, ``frames_per_second`` of them.

    Frame k of a clip that starts at s is the one that is shown at
    ``s + k / frames_per_second``. Where a video has fewer frames a second, some come
    several times; where it has more, some are left out. A clip takes
    ``clip_len / frames_per_second`` seconds. Of a shorter video the last frame is
    repeated.

    In training the time in which a clip can start is cut into ``num_clips`` equal
    parts, and each clip starts anywhere in its part. In testing one clip is in the
    middle of the video; several begin at equal distances, the first at the beginning
    of the video, and the last ends with it.

    When frames are shown is taken from the file where its reader tells
    (``VideoReader.times``: files read by index), also for variable frame rates;
    otherwise frames are taken to be at equal distances, by the average rate.

    MMAction2's ``SampleFrames(target_fps=...)`` goes by the average rate only, spreads
    ``clip_len`` frames over one interval less than stated, counts by frames where the
    rate is not known, and starts where the number of frames decides: the same moments
    are not drawn from files of different rates.

    Required keys: total_frames, start_index, avg_fps, video_reader (of a loader).
    Added keys: frame_inds (num_clips * clip_len, int32, clip after clip), clip_len,
    num_clips.

    Args:
        clip_len (int): frames of a clip.
        frames_per_second (float): of a clip, not of the video.
        num_clips (int): clips per video. Defaults to 1.
        test_mode (bool): fixed clips instead of random ones. Defaults to False.

    Raises:
        ValueError: if ``frames_per_second`` is not above 0.
    """

    def __init__(
        self,
        clip_len: int,
        frames_per_second: float,
        num_clips: int = 1,
        test_mode: bool = False,
    ) -> None:
        if not frames_per_second > 0:
            raise ValueError(
                'SampleFramesByTime.frames_per_second: expected more than 0, got '
                f'{frames_per_second}'
            )
        self.clip_len = clip_len
        self.frames_per_second = frames_per_second
        self.num_clips = num_clips
        self.test_mode = test_mode

    def transform(self, results: dict) -> dict:
        """Sample.

        Raises:
            VideoError: if the file tells neither times nor rate; names it.
            ValueError: if there is no loader before that opens the video.
        """
        times, end = _times(results)
        starts = self._starts(end - self.clip_len / self.frames_per_second)
        steps = np.arange(self.clip_len) / self.frames_per_second
        moments = (starts[:, None] + steps).ravel()
        shown = np.searchsorted(times, moments + _ROUNDING, side='right') - 1
        results['frame_inds'] = (shown + results['start_index']).astype(np.int32)
        results['clip_len'] = self.clip_len
        results['num_clips'] = self.num_clips
        return results

    def _starts(self, spare: float) -> np.ndarray:
        spare = max(spare, 0)
        clips = np.arange(self.num_clips)
        if not self.test_mode:
            return (clips + np.random.rand(self.num_clips)) * spare / self.num_clips
        if self.num_clips == 1:
            return np.array([spare / 2])
        return clips * spare / (self.num_clips - 1)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(clip_len={self.clip_len}, '
            f'frames_per_second={self.frames_per_second}, '
            f'num_clips={self.num_clips}, test_mode={self.test_mode})'
        )


def _times(results: dict) -> tuple[np.ndarray, float]:
    """Give when each frame is shown, from the first, and when the last one ends."""
    if 'avg_fps' not in results:
        raise ValueError(
            'SampleFramesByTime: expected the key avg_fps of a loader, got none; put '
            "dict(type='PyAVSkipInit') in front of it. Frames as pictures have no "
            'rate, and RepeatAugDataset hands none on: there, use PerClip with '
            f'num_clips ({docs_page("data", "Repeated sampling")})'
        )
    count, rate = results['total_frames'], results['avg_fps']
    times = getattr(results.get('video_reader'), 'times', None)
    if times is None and not rate:
        raise VideoError(
            f'{results.get("filename")}: expected a frame rate or the times of its '
            'frames, as they are sampled by time, got neither; transcode it '
            f'({tool_name("data/transcode.py")})'
        )
    if times is None:
        times = np.arange(count) / rate
    # The last frame is taken to be shown as long as the others are on average.
    each = times[-1] / (count - 1) if count > 1 else 1 / (rate or 1)
    return times, float(times[-1] + each)
