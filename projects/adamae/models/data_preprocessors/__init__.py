"""Data preprocessors."""

from .adamae_data_preprocessor import AdaMAEDataPreprocessor
from .batched_data_preprocessor import BatchedDataPreprocessor

__all__ = ['AdaMAEDataPreprocessor', 'BatchedDataPreprocessor']
