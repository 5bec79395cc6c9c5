"""Token samplers: which tokens the encoder sees."""

from .adaptive_sampler import AdaptiveSamplerHead
from .token_sampler import TokenSample, TokenSampler
from .frame_sampler import FrameSamplerHead
from .frame_difference_sampler import FrameDifferenceSamplerHead
from .random_sampler import RandomSamplerHead
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
