"""Hooks, loops, optimizer constructors and strategies for MMEngine's runner."""

from . import hooks, loops, optimizers
from .hooks import *
from .loops import *
from .optimizers import *
from .sharded_strategy import ShardedStrategy

__all__ = ['ShardedStrategy', *hooks.__all__, *loops.__all__, *optimizers.__all__]
