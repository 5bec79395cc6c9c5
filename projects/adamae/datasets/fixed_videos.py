"""A few videos of a config that are looked at again and again."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from mmaction.datasets.transforms import PackActionInputs
from mmengine.config import Config
from torch.utils.data import Dataset

from .from_config import build_dataset, iter_built, iter_datasets


class FixedVideos(Dataset):
    """Videos spread evenly over a split: held out where there is a validation split.

    They are read as :func:`.build_dataset` says, nothing at random; without a
    validation split they are videos of the training. Of the dataset only these are
    kept in memory.

    Args:
        cfg (Config): with datasets.
        num_videos (int): how many; at most all.
        clip_size (tuple[int, int, int]): frames, height and width of the clips that
            the encoder takes.

    Raises:
        ValueError: if the config has no dataset of videos, or several pipelines.
    """

    def __init__(
        self, cfg: Config, num_videos: int, clip_size: tuple[int, int, int]
    ) -> None:
        split = 'val' if cfg.get('val_dataloader') else 'train'
        loader = cfg.get(f'{split}_dataloader')
        parts = dict(iter_datasets(loader['dataset'])) if loader else {}
        if not parts or any('pipeline' not in part for part in parts.values()):
            raise ValueError(
                f'{split}_dataloader.dataset: expected datasets with a pipeline'
            )
        dataset = build_dataset(cfg, split, clip_size)
        count = min(num_videos, len(dataset))
        chosen = np.arange(count) * len(dataset) // max(count, 1)
        self._infos = [dataset.get_data_info(int(i)) for i in chosen]
        self._pipeline = next(iter_built(dataset)).pipeline
        for step in self._pipeline.transforms:
            if isinstance(step, PackActionInputs):  # for pictures
                step.meta_keys = (*step.meta_keys, 'frame_inds')

    def __len__(self) -> int:
        return len(self._infos)

    def __getitem__(self, index: int) -> Any:
        return self._pipeline(self.get_data_info(index))

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Give what the pipeline starts with."""
        return copy.deepcopy(self._infos[index])
