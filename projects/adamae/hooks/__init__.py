"""Hooks: what happens around training steps."""

from .finite_check_hook import FiniteCheckHook

__all__ = ['FiniteCheckHook']
