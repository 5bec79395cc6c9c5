"""Hooks, optimizer constructors and strategies for MMEngine's runner."""

from . import hooks, optimizers
from .hooks import *
from .optimizers import *
from .sharded_strategy import ShardedStrategy

__all__ = ['ShardedStrategy', *hooks.__all__, *optimizers.__all__]
