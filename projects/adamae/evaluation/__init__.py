"""Metrics of masked pre-training and of classifiers."""

from .classification_report import ClassificationReport
from .masking_metric import MaskingMetric, object_tokens

__all__ = ['ClassificationReport', 'MaskingMetric', 'object_tokens']
