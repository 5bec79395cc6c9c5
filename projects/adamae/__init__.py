"""AdaMAE and its peers: masked video pre-training for MMAction2.

Importing this package registers its components; in a config that is
``custom_imports = dict(imports=['projects.adamae'])``.
"""

from . import compat  # isort: skip  # first: without it, MMAction2 may not import
from . import atomic_backend, hooks, metrics, optim, transforms
from .backbone import MaskedVisionTransformer
from .batched_data_preprocessor import BatchedDataPreprocessor
from .data_preprocessor import AdaMAEDataPreprocessor
from .datasets import (
    TolerantRepeatAugDataset,
    TolerantVideoDataset,
    VideoFolderDataset,
)
from .decoder import MAEDecoder
from .frozen_backbone import FrozenVisionTransformer
from .frozen_separable_backbone import FrozenSeparableVisionTransformer
from .linear_probe_head import LinearProbeHead
from .losses import AdaMAELoss, SpatiotemporalMAELoss
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
from .separable_backbone import SeparableVisionTransformer
from .separable_decoder import SeparableMAEDecoder
from .sharded_strategy import ShardedStrategy
from .subsets import RandomSubset, RunningCellSubset, SamplerSubset, TokenSubset

__all__ = [
    'AdaMAEDataPreprocessor',
    'AdaMAELoss',
    'AdaptiveSamplerHead',
    'BatchedDataPreprocessor',
    'FrameDifferenceSamplerHead',
    'FrameSamplerHead',
    'FrozenSeparableVisionTransformer',
    'FrozenVisionTransformer',
    'LinearProbeHead',
    'MAEDecoder',
    'MAERecognizer',
    'MaskedVisionTransformer',
    'RandomSamplerHead',
    'RandomSubset',
    'RunningCellSubset',
    'SamplerSubset',
    'SeparableMAEDecoder',
    'SeparableVisionTransformer',
    'ShardedStrategy',
    'SpatiotemporalMAELoss',
    'TokenSample',
    'TokenSampler',
    'TokenSubset',
    'TolerantRepeatAugDataset',
    'TolerantVideoDataset',
    'TubeSamplerHead',
    'VideoFolderDataset',
    'atomic_backend',
    'compat',
    'hooks',
    'metrics',
    'optim',
    'transforms',
]
