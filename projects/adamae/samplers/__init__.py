"""Token samplers: which tokens the encoder sees."""

from .adaptive import AdaptiveSamplerHead
from .base import TokenSample, TokenSampler
from .random import RandomSamplerHead

__all__ = ['AdaptiveSamplerHead', 'RandomSamplerHead', 'TokenSample', 'TokenSampler']
