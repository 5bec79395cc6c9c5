"""Clips to look at: of a config's dataset, or of video files."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmaction.registry import DATASETS
from mmengine.config import Config
from torch.utils.data import Dataset, Subset

from ..datasets.checked_decord import check_decord
from ..datasets.from_config import (
    center_clip_pipeline,
    iter_built,
    iter_datasets,
    video_name,
    with_meta_keys,
)
from ..evaluation.features import ErrorsAsValues
from ..video.error import VideoError
from . import predict
from .videos import Videos


class Clip(NamedTuple):
    """A clip to look at.

    Attributes:
        name (str): of its video: folder and file, or more to tell it from others.
        packed (dict): what a pipeline packed: ``inputs``, uint8 (clips, C, T, H, W),
            and ``data_samples``.
    """

    name: str
    packed: dict[str, Any]


class Clips(Sequence[Clip | VideoError]):
    """Clips that are read when they are asked for, one at a time.

    Args:
        videos (Dataset): gives what is packed of a number, or an error.
        sources (Sequence[str]): file or folder of each.

    Attributes:
        names (list[str]): see :class:`Clip`.
        sources (Sequence[str]): as above.
    """

    def __init__(self, videos: Dataset, sources: Sequence[str]) -> None:
        self._videos = videos
        self.sources = sources
        self.names = _short(sources)

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: Any) -> Any:
        """Read a clip; an error, which names the file, if it cannot be read.

        Raises:
            UnreachableVideoError: if that is not the fault of the file.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        index = range(len(self))[index]
        packed = self._videos[index]
        if isinstance(packed, VideoError):
            return packed
        if isinstance(packed, list):  # of repeated sampling
            packed = packed[0]
        return Clip(self.names[index], packed)


def dataset_clips(cfg: Config, split: str, num: int, seed: int) -> Clips:
    """Take some clips of a config's dataset, by its own pipeline.

    No video takes the place of one that cannot be read.

    Args:
        cfg (Config): has ``<split>_dataloader``.
        split (str): ``'train'``, ``'val'`` or ``'test'``.
        num (int): how many; at most all.
        seed (int): of the choice.

    Returns:
        Clips: in the order of the dataset; an error, which names the file, for each
        that cannot be read.

    Raises:
        ValueError: if the config has no such dataset.
    """
    loader = cfg.get(f'{split}_dataloader')
    if loader is None:
        raise ValueError(
            f'the config has no {split}_dataloader: choose another --split or --video'
        )
    config = copy.deepcopy(loader.dataset)
    for _, part in iter_datasets(config):
        part['pipeline'] = with_meta_keys(part['pipeline'], 'frame_inds')
    dataset = DATASETS.build(config)
    for part in iter_built(dataset):
        part.test_mode = True  # an error, and not another video
        # Also of datasets that are not ours: pictures of other frames tell nothing.
        part.pipeline.transforms = check_decord(part.pipeline.transforms)
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(dataset), min(num, len(dataset)), replace=False)
    numbers = sorted(chosen.tolist())
    files = [video_name(dataset.get_data_info(i)) for i in numbers]
    return Clips(Subset(ErrorsAsValues(dataset), numbers), files)


def video_clips(
    clip_size: tuple[int, int, int],
    files: Sequence[str],
    frame_interval: int = 1,
    frames_per_second: float | None = None,
) -> Clips:
    """Take the clip in the middle of video files, cut to the size of a model.

    Args:
        clip_size (tuple[int, int, int]): frames, height and width of the clips that
            the model takes.
        files (Sequence[str]): videos of any size.
        frame_interval (int): frames from one frame of the clip to the next. Defaults
            to 1.
        frames_per_second (float, optional): of the clip, instead of an interval.

    Returns:
        Clips: one per file; an error, which names it, for each that cannot be read.
    """
    pipeline = center_clip_pipeline(clip_size, frame_interval, frames_per_second)
    videos = Videos(files, with_meta_keys(pipeline, 'frame_inds'))
    return Clips(ErrorsAsValues(videos), files)


def find_files(sources: Sequence[str]) -> list[str]:
    """List the videos that a command line means, see :func:`.predict.find_files`.

    Raises:
        FileNotFoundError: also if a single file does not exist.
    """
    missing = [source for source in sources if not Path(source).exists()]
    if missing:
        raise FileNotFoundError(f'no such video: {", ".join(missing)}')
    return predict.find_files(sources)


def _short(files: Sequence[str]) -> list[str]:
    """Cut paths to their last two parts, or as many as tell them apart."""
    parts = [Path(os.path.abspath(file)).parts for file in files]
    for length in range(2, max(map(len, parts), default=2) + 1):
        names = ['/'.join(part[-length:]) for part in parts]
        if len({*names}) == len({*parts}):
            break
    return [name.lstrip('/') for name in names] if parts else []
