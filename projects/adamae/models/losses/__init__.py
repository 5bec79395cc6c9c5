"""Losses: what the decoder has to predict, and what the sampler is rewarded for."""

from .adamae_loss import AdaMAELoss
from .spatiotemporal_mae_loss import SpatiotemporalMAELoss

__all__ = ['AdaMAELoss', 'SpatiotemporalMAELoss']
