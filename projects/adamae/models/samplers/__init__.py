"""Token samplers: which tokens the encoder sees."""

from .adaptive import AdaptiveSamplerHead
from .base import TokenSample, TokenSampler
from .frame import FrameSamplerHead
from .frame_difference import FrameDifferenceSamplerHead
from .random import RandomSamplerHead
from .tube import TubeSamplerHead

__all__ = [
    'AdaptiveSamplerHead',
    'FrameDifferenceSamplerHead',
    'FrameSamplerHead',
    'RandomSamplerHead',
    'TokenSample',
    'TokenSampler',
    'TubeSamplerHead',
]
