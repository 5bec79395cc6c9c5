"""Metrics of masked pre-training."""

from .masking_metric import MaskingMetric, object_tokens

__all__ = ['MaskingMetric', 'object_tokens']
