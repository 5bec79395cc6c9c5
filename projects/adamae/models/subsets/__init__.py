"""Which of the masked tokens the decoder predicts in training."""

from .base import TokenSubset
from .random import RandomSubset
from .running_cell import RunningCellSubset
from .sampler import SamplerSubset

__all__ = ['RandomSubset', 'RunningCellSubset', 'SamplerSubset', 'TokenSubset']
