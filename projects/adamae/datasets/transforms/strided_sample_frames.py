"""Clips spread evenly over the video: the test views of Kinetics-400."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmaction.datasets.transforms import SampleFrames
from mmaction.registry import TRANSFORMS


@TRANSFORMS.register_module()
class StridedSampleFrames(SampleFrames):
    """MMAction2's ``SampleFrames`` at the published positions in testing.

    In testing, the video is the list of every ``frame_interval``-th frame, m of
    them. Clip k of K is ``clip_len`` consecutive ones from
    ``int(k * max(m - clip_len, 0) / (K - 1))`` on; the last frame is repeated where
    the list is too short. MMAction2's own clips start at any frame and end at the very
    last one. Training clips are MMAction2's.

    Required keys: total_frames, start_index. Added keys: frame_inds (num_clips *
    clip_len, int32, clip after clip), clip_len, frame_interval, num_clips.

    Source: VideoMAE, arXiv:2203.12602, and its code, which AdaMAE tests with.

    Args:
        clip_len (int): frames of a clip.
        out_of_bound_opt (str): as in ``SampleFrames``. Defaults to 'repeat_last'.
        **kwargs: every other argument of ``SampleFrames`` (``frame_interval``,
            ``num_clips``, ``test_mode``, ...). A single test clip is the first one.

    Raises:
        ValueError: if ``twice_sample`` or ``target_fps`` is set in testing, for which
            nothing was published.
    """

    def __init__(
        self, clip_len: int, out_of_bound_opt: str = 'repeat_last', **kwargs: Any
    ) -> None:
        super().__init__(clip_len, out_of_bound_opt=out_of_bound_opt, **kwargs)
        other = [k for k in ('twice_sample', 'target_fps') if getattr(self, k)]
        if self.test_mode and other:
            raise ValueError(
                f'{type(self).__name__}: expected no {" and no ".join(other)} in '
                "testing, got one; use type='SampleFrames', whose clips they are for"
            )

    def _get_test_clips(self, num_frames: int, ori_clip_len: float) -> np.ndarray:
        listed = (num_frames - 1) // self.frame_interval + 1
        spare = max(listed - self.clip_len, 0)
        starts = np.arange(self.num_clips) * spare // max(self.num_clips - 1, 1)
        return starts * self.frame_interval
