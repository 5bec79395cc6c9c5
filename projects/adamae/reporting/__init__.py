"""The report of a run, and bands of healthy ones."""

from .page import MAX_BYTES, write_report

__all__ = ['MAX_BYTES', 'write_report']
