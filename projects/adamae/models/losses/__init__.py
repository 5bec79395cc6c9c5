"""Losses: what the decoder has to predict, and what the sampler is rewarded for."""

from .adamae import AdaMAELoss
from .spatiotemporal import SpatiotemporalMAELoss

__all__ = ['AdaMAELoss', 'SpatiotemporalMAELoss']
