"""Which of the masked tokens the decoder predicts in training."""

from .token_subset import TokenSubset
from .random_subset import RandomSubset
from .running_cell_subset import RunningCellSubset
from .sampler_subset import SamplerSubset

__all__ = ['RandomSubset', 'RunningCellSubset', 'SamplerSubset', 'TokenSubset']
