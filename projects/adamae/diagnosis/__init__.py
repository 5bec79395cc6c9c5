"""What is likely wrong with a run, from what it left in its work folder."""

from .doctor import Examination, diagnose, examine
from .finding import Finding

__all__ = ['Examination', 'Finding', 'diagnose', 'examine']
