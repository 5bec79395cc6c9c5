"""The encoder of SpatiotemporalMAE as it is, for a classifier on top of it."""

from __future__ import annotations

from mmaction.registry import MODELS

from .frozen_vit import Frozen
from .separable_vit import SeparableVisionTransformer


@MODELS.register_module()
class FrozenSeparableVisionTransformer(Frozen, SeparableVisionTransformer):
    """A pre-trained ``SeparableVisionTransformer`` for linear probes.

    The class token is left out of the mean, see :class:`Frozen`.

    Args:
        **kwargs: as in :class:`SeparableVisionTransformer`.
    """
