"""Pictures of what a masked autoencoder sees, predicts and looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate

from ..datasets.from_config import center_clip_pipeline
from ..models.mae_recognizer import MAERecognizer
from ..visualization.sheet import draw_prediction


class Clip(NamedTuple):
    """A clip to look at.

    Attributes:
        name (str): of its video: folder and file.
        packed (dict): what a pipeline packed: ``inputs``, uint8 (clips, C, T, H, W),
            and ``data_samples``.
    """

    name: str
    packed: dict[str, Any]


def dataset_clips(cfg: Config, split: str, num: int, seed: int) -> list[Clip]:
    """Take some clips of a config's dataset, by its own pipeline.

    Args:
        cfg (Config): has ``<split>_dataloader``.
        split (str): ``'train'``, ``'val'`` or ``'test'``.
        num (int): how many; at most all.
        seed (int): of the choice.

    Returns:
        list[Clip]: in the order of the dataset.

    Raises:
        ValueError: if the config has no such dataset.
    """
    loader = cfg.get(f'{split}_dataloader')
    if loader is None:
        raise ValueError(
            f'the config has no {split}_dataloader: choose another --split or --video'
        )
    dataset = DATASETS.build(loader.dataset)
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(dataset), min(num, len(dataset)), replace=False)
    return [
        Clip(_short(dataset.get_data_info(i)['filename']), _first(dataset[i]))
        for i in sorted(chosen.tolist())
    ]


def _first(packed: Any) -> Any:
    """Choose one of a list of clips, which repeated sampling gives."""
    return packed[0] if isinstance(packed, list) else packed


def _short(filename: str) -> str:
    return '/'.join(Path(filename).parts[-2:])


def video_clips(
    model: MAERecognizer, files: list[str], frame_interval: int = 1
) -> list[Clip]:
    """Take the clip in the middle of video files, cut to the size of a model.

    Args:
        model (MAERecognizer): decides size and length.
        files (list[str]): videos of any size.
        frame_interval (int): frames from one frame of the clip to the next.

    Returns:
        list[Clip]: one per file.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    pipeline = Compose(center_clip_pipeline(model.backbone.clip_size, frame_interval))
    missing = [file for file in files if not Path(file).is_file()]
    if missing:
        raise FileNotFoundError(f'no such video: {", ".join(missing)}')
    return [
        Clip(_short(f), pipeline(dict(filename=f, start_index=0, modality='RGB')))
        for f in files
    ]


@torch.no_grad()
def draw_clip(model: MAERecognizer, clip: Clip) -> np.ndarray:
    """Run a model on a clip and draw the outcome.

    Args:
        model (MAERecognizer): in evaluation mode.
        clip (Clip): from :func:`dataset_clips` or :func:`video_clips`; if there are
            several clips of the video in it, the first is drawn.

    Returns:
        np.ndarray: uint8, shape (height, width, 3), RGB.
    """
    sample = model.val_step(pseudo_collate([clip.packed]))[0]
    return draw_prediction(model, clip.packed['inputs'][0], sample, clip.name)
