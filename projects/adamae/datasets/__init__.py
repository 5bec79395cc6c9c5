"""Datasets and transforms that MMAction2 lacks."""

from . import transforms
from .labeled_video_folder_dataset import LabeledVideoFolderDataset
from .tolerant_rawframe_dataset import TolerantRawframeDataset
from .tolerant_repeat_aug_dataset import TolerantRepeatAugDataset
from .tolerant_video_dataset import TolerantVideoDataset
from .transforms import *
from .video_folder_dataset import VideoFolderDataset
from .weighted_dataset_sampler import WeightedDatasetSampler

__all__ = [
    'LabeledVideoFolderDataset',
    'TolerantRawframeDataset',
    'TolerantRepeatAugDataset',
    'TolerantVideoDataset',
    'VideoFolderDataset',
    'WeightedDatasetSampler',
    *transforms.__all__,
]
