"""Checkpoints: of other code bases, in and out, and into models without a gap."""

from .formats import to_ours
from .loading import CheckpointMismatch, Purpose, adapt_checkpoint, load_pretrained

__all__ = [
    'CheckpointMismatch',
    'Purpose',
    'adapt_checkpoint',
    'load_pretrained',
    'to_ours',
]
