"""The encoder of SpatiotemporalMAE as it is, for a classifier on top of it."""

from __future__ import annotations

from mmaction.registry import MODELS

from .frozen_vit import FrozenMixin
from .separable_vit import SeparableVisionTransformer


@MODELS.register_module()
class FrozenSeparableVisionTransformer(FrozenMixin, SeparableVisionTransformer):
    """A pre-trained ``SeparableVisionTransformer`` for linear probes.

    See :class:`FrozenMixin`; the class token does not take part in the mean.
    """
