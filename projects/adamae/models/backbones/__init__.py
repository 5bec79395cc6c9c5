"""Encoders."""

from .frozen_separable_vit import FrozenSeparableVisionTransformer
from .frozen_vit import FrozenVisionTransformer
from .masked_vit import MaskedVisionTransformer
from .separable_vit import SeparableVisionTransformer

__all__ = [
    'FrozenSeparableVisionTransformer',
    'FrozenVisionTransformer',
    'MaskedVisionTransformer',
    'SeparableVisionTransformer',
]
