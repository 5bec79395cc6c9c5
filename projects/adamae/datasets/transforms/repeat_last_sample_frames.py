"""Training clips of short videos: as published, the last frame is repeated."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmaction.datasets.transforms import SampleFrames
from mmaction.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RepeatLastSampleFrames(SampleFrames):
    """MMAction2's ``SampleFrames`` that stays at the last frame of a short video.

    Clips start where MMAction2's do. From there they advance by ``frame_interval``
    as long as that stays before the very last frame of the video, and then repeat
    the frame they have reached: of 20 or 21 frames, every second one is
    0, 2, ..., 16, 18, 18, 18, ... MMAction2 starts anew at 0 (``'loop'``), or
    goes on to frame 20 of 21 (``'repeat_last'``).

    Required keys: total_frames, start_index. Added keys: frame_inds (num_clips *
    clip_len, int32, clip after clip), clip_len, frame_interval, num_clips.

    Source: the pre-training of VideoMAE, arXiv:2203.12602, and its code, which AdaMAE
    trains with.

    Args:
        clip_len (int): frames of a clip.
        **kwargs: every other argument of ``SampleFrames`` but ``out_of_bound_opt``.
    """

    def __init__(self, clip_len: int, **kwargs: Any) -> None:
        super().__init__(clip_len, out_of_bound_opt='repeat_last', **kwargs)
        # The last frame is never stepped to, but may be the one frame of a clip.
        self._left_out = int(clip_len > 1)

    def transform(self, results: dict) -> dict:
        """Sample; clips of several frames as if the last one were not there."""
        total_frames = results['total_frames']
        results = super().transform(
            {**results, 'total_frames': max(total_frames - self._left_out, 1)}
        )
        return {**results, 'total_frames': total_frames}

    def _sample_clips(self, num_frames: int, ori_clip_len: float) -> np.ndarray:
        return super()._sample_clips(num_frames + self._left_out, ori_clip_len)
