"""Checkpoints: of other code bases, in and out, and into models without a gap."""

from .adapt import CheckpointMismatch, Purpose, adapt_checkpoint, load_pretrained
from .formats import to_ours

__all__ = [
    'CheckpointMismatch',
    'Purpose',
    'adapt_checkpoint',
    'load_pretrained',
    'to_ours',
]
