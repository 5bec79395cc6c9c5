"""Data preprocessors."""

from .adamae import AdaMAEDataPreprocessor
from .batched import BatchedDataPreprocessor

__all__ = ['AdaMAEDataPreprocessor', 'BatchedDataPreprocessor']
