"""Hooks: what happens around training steps."""

from .checkpoint_check_hook import CheckpointCheckHook
from .finite_check_hook import FiniteCheckHook
from .knn_hook import KnnHook
from .random_state_hook import RandomStateHook

__all__ = ['CheckpointCheckHook', 'FiniteCheckHook', 'KnnHook', 'RandomStateHook']
