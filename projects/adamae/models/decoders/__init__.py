"""Decoders."""

from .mae_decoder import MAEDecoder
from .separable_mae_decoder import SeparableMAEDecoder

__all__ = ['MAEDecoder', 'SeparableMAEDecoder']
