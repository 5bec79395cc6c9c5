"""Data sets: what MMAction2's lack."""

from .tolerant_video_dataset import TolerantVideoDataset
from .video_folder_dataset import VideoFolderDataset

__all__ = ['TolerantVideoDataset', 'VideoFolderDataset']
