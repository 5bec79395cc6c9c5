"""Data sets: what MMAction2's lack."""

from .tolerant_repeat_aug_dataset import TolerantRepeatAugDataset
from .tolerant_video_dataset import TolerantVideoDataset
from .video_folder_dataset import VideoFolderDataset

__all__ = ['TolerantRepeatAugDataset', 'TolerantVideoDataset', 'VideoFolderDataset']
