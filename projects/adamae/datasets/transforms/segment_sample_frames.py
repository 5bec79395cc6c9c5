"""Clips that span the whole video: Something-Something v2."""

from __future__ import annotations

import numpy as np
from mmaction.datasets.transforms import UniformSample
from mmaction.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SegmentSampleFrames(UniformSample):
    """One frame from each of ``clip_len`` equal segments of a video.

    In training it is a random frame of the segment. In testing, clip k of K takes the
    frame at k / K of each segment. With 16 frames and two clips these are the views
    of the published test: ``int(tick * x)`` and ``int(tick / 2 + tick * x)``,
    x = 0 .. 15, tick = total_frames / 16.

    A video of fewer frames than segments repeats some. Arguments and keys are
    those of MMAction2's ``UniformSample``, which cuts ``total_frames - 1`` into
    segments, rounds their ends, and takes clip k at (k + 1) / (K + 1) of a segment.

    Required keys: total_frames, start_index. Added keys: frame_inds (num_clips *
    clip_len, int32, clip after clip), clip_len, frame_interval, num_clips.

    Source: VideoMAE, arXiv:2203.12602, and its code, which AdaMAE tests with. Its
    training drops the ``total_frames % 16`` last frames; here they have their share.

    Args:
        clip_len (int): frames of a clip, and segments of the video.
        num_clips (int): clips per video. Defaults to 1.
        test_mode (bool): fixed frames instead of random ones. Defaults to False.
    """

    def _get_sample_clips(self, num_frames: int) -> np.ndarray:
        # In whole numbers, so that nothing rounds up to num_frames.
        segments = np.arange(self.clip_len)
        if self.test_mode:
            clips = np.arange(self.num_clips)[:, None]
            steps = self.num_clips * segments + clips
            inds = num_frames * steps // (self.num_clips * self.clip_len)
        else:
            size = (self.num_clips, self.clip_len)
            within = np.random.randint(num_frames, size=size)
            inds = (num_frames * segments + within) // self.clip_len
        return inds.ravel()
