"""Token samplers: which tokens the encoder sees."""

from ..tokens import TokenSample
from .adaptive_sampler import AdaptiveSamplerHead
from .frame_difference_sampler import FrameDifferenceSamplerHead
from .frame_sampler import FrameSamplerHead
from .random_sampler import RandomSamplerHead
from .token_sampler import TokenSampler
from .tube_sampler import TubeSamplerHead

__all__ = [
    'AdaptiveSamplerHead',
    'FrameDifferenceSamplerHead',
    'FrameSamplerHead',
    'RandomSamplerHead',
    'TokenSample',
    'TokenSampler',
    'TubeSamplerHead',
]
