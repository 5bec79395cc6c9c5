"""Data transforms that MMAction2 lacks."""

from .even_three_crop import EvenThreeCrop
from .load_object_mask import LoadObjectMask
from .segment_sample_frames import SegmentSampleFrames
from .strided_sample_frames import StridedSampleFrames

__all__ = [
    'EvenThreeCrop',
    'LoadObjectMask',
    'SegmentSampleFrames',
    'StridedSampleFrames',
]
