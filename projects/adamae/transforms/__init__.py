"""Data transforms that MMAction2 lacks."""

from .load_object_mask import LoadObjectMask

__all__ = ['LoadObjectMask']
