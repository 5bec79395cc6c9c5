"""The masked autoencoder and its parts."""

from . import backbones, data_preprocessors, decoders, losses, samplers, subsets
from .backbones import *
from .data_preprocessors import *
from .decoders import *
from .linear_probe_head import LinearProbeHead
from .losses import *
from .mae_recognizer import MAERecognizer
from .samplers import *
from .subsets import *

__all__ = [
    'LinearProbeHead',
    'MAERecognizer',
    *backbones.__all__,
    *data_preprocessors.__all__,
    *decoders.__all__,
    *losses.__all__,
    *samplers.__all__,
    *subsets.__all__,
]
