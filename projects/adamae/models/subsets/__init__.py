"""Which of the masked tokens the decoder predicts in training."""

from .random_subset import RandomSubset
from .running_cell_subset import RunningCellSubset
from .sampler_subset import SamplerSubset
from .token_subset import TokenSubset

__all__ = ['RandomSubset', 'RunningCellSubset', 'SamplerSubset', 'TokenSubset']
