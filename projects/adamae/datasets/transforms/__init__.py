"""Data transforms that MMAction2 lacks."""

from .even_three_crop import EvenThreeCrop
from .load_object_mask import LoadObjectMask
from .multi_scale_crop_within_frame import MultiScaleCropWithinFrame
from .per_clip import PerClip
from .pyav_skip_decode import PyAVSkipDecode
from .pyav_skip_init import PyAVSkipInit
from .random_resized_crop_within_ratio import RandomResizedCropWithinRatio
from .repeat_last_sample_frames import RepeatLastSampleFrames
from .resize_to_cover import ResizeToCover
from .sample_frames_by_time import SampleFramesByTime
from .segment_sample_frames import SegmentSampleFrames
from .strided_sample_frames import StridedSampleFrames
from .swap_red_blue import SwapRedBlue

__all__ = [
    'EvenThreeCrop',
    'LoadObjectMask',
    'MultiScaleCropWithinFrame',
    'PerClip',
    'PyAVSkipDecode',
    'PyAVSkipInit',
    'RandomResizedCropWithinRatio',
    'RepeatLastSampleFrames',
    'ResizeToCover',
    'SampleFramesByTime',
    'SegmentSampleFrames',
    'StridedSampleFrames',
    'SwapRedBlue',
]
