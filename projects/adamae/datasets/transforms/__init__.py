"""Data transforms that MMAction2 lacks."""

from .even_three_crop import EvenThreeCrop
from .load_object_mask import LoadObjectMask
from .per_clip import PerClip
from .pyav_skip_decode import PyAVSkipDecode
from .pyav_skip_init import PyAVSkipInit
from .repeat_last_sample_frames import RepeatLastSampleFrames
from .segment_sample_frames import SegmentSampleFrames
from .strided_sample_frames import StridedSampleFrames
from .swap_red_blue import SwapRedBlue

__all__ = [
    'EvenThreeCrop',
    'LoadObjectMask',
    'PerClip',
    'PyAVSkipDecode',
    'PyAVSkipInit',
    'RepeatLastSampleFrames',
    'SegmentSampleFrames',
    'StridedSampleFrames',
    'SwapRedBlue',
]
