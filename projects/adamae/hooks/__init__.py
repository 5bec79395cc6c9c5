"""Hooks: what happens around training steps."""

from .checkpoint_check_hook import CheckpointCheckHook
from .finite_check_hook import FiniteCheckHook

__all__ = ['CheckpointCheckHook', 'FiniteCheckHook']
