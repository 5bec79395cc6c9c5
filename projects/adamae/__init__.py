"""AdaMAE and its peers: masked video pre-training for MMAction2.

Importing this package registers its components; in a config that is
``custom_imports = dict(imports=['projects.adamae'])``.
"""

from . import compat  # isort: skip  # first: without it, MMAction2 may not import
from . import atomic_backend, hooks, metrics, transforms
from .backbone import MaskedVisionTransformer
from .data_preprocessor import AdaMAEDataPreprocessor
from .datasets import TolerantVideoDataset, VideoFolderDataset
from .decoder import MAEDecoder
from .frozen_backbone import FrozenVisionTransformer
from .linear_probe_head import LinearProbeHead
from .losses import AdaMAELoss
from .recognizer import MAERecognizer
from .samplers import (
    AdaptiveSamplerHead,
    FrameDifferenceSamplerHead,
    FrameSamplerHead,
    RandomSamplerHead,
    TokenSample,
    TokenSampler,
    TubeSamplerHead,
)

__all__ = [
    'AdaMAEDataPreprocessor',
    'AdaMAELoss',
    'AdaptiveSamplerHead',
    'FrameDifferenceSamplerHead',
    'FrameSamplerHead',
    'FrozenVisionTransformer',
    'LinearProbeHead',
    'MAEDecoder',
    'MAERecognizer',
    'MaskedVisionTransformer',
    'RandomSamplerHead',
    'TokenSample',
    'TokenSampler',
    'TolerantVideoDataset',
    'TubeSamplerHead',
    'VideoFolderDataset',
    'atomic_backend',
    'compat',
    'hooks',
    'metrics',
    'transforms',
]
