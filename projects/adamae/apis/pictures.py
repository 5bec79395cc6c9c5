"""Pictures of what a masked autoencoder sees, predicts and looks at."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate

from ..datasets.checked_decord import check_decord
from ..datasets.from_config import (
    center_clip_pipeline,
    iter_built,
    iter_datasets,
    video_name,
)
from ..evaluation.features import ErrorsAsValues, unreadable
from ..models.mae_recognizer import MAERecognizer
from ..utils.text import shorten
from ..video.error import VideoError
from ..visualization.rows import Row, prediction_rows
from ..visualization.sheet import MAX_TITLE, assemble, draw_prediction

# Bytes of a file's name, short of the 255 that file systems take.
_MAX_NAME = 200


class Clip(NamedTuple):
    """A clip to look at.

    Attributes:
        name (str): of its video: folder and file, or more to tell it from others.
        packed (dict): what a pipeline packed: ``inputs``, uint8 (clips, C, T, H, W),
            and ``data_samples``.
    """

    name: str
    packed: dict[str, Any]


def dataset_clips(
    cfg: Config, split: str, num: int, seed: int
) -> list[Clip | VideoError]:
    """Take some clips of a config's dataset, by its own pipeline.

    No video takes the place of one that cannot be read.

    Args:
        cfg (Config): has ``<split>_dataloader``.
        split (str): ``'train'``, ``'val'`` or ``'test'``.
        num (int): how many; at most all.
        seed (int): of the choice.

    Returns:
        list[Clip | VideoError]: in the order of the dataset; an error, which names the
        file, for each that cannot be read.

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
        part['pipeline'] = _with_numbers(part['pipeline'])
    dataset = DATASETS.build(config)
    for part in iter_built(dataset):
        part.test_mode = True  # an error, and not another video
        # Also of datasets that are not ours: pictures of other frames tell nothing.
        part.pipeline.transforms = check_decord(part.pipeline.transforms)
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(dataset), min(num, len(dataset)), replace=False)
    videos = ErrorsAsValues(dataset)
    numbers = sorted(chosen.tolist())
    names = [video_name(dataset.get_data_info(i)) for i in numbers]
    return [
        packed if isinstance(packed, VideoError) else Clip(name, _first(packed))
        for name, packed in zip(
            _short(names), (videos[i] for i in numbers), strict=True
        )
    ]


def _with_numbers(pipeline: Sequence[dict]) -> list[dict]:
    """Let a pipeline pack the numbers of its frames, too."""
    return [
        {**step, 'meta_keys': (*step.get('meta_keys', ()), 'frame_inds')}
        if step['type'] == 'PackActionInputs'
        else step
        for step in pipeline
    ]


def _first(packed: Any) -> Any:
    """Choose one of a list of clips, which repeated sampling gives."""
    return packed[0] if isinstance(packed, list) else packed


def _short(files: Sequence[str]) -> list[str]:
    """Cut paths to their last two parts, or as many as tell them apart."""
    parts = [Path(os.path.abspath(file)).parts for file in files]
    for length in range(2, max(map(len, parts), default=2) + 1):
        names = ['/'.join(part[-length:]) for part in parts]
        if len({*names}) == len({*parts}):
            break
    return [name.lstrip('/') for name in names] if parts else []


def video_clips(
    model: MAERecognizer,
    files: list[str],
    frame_interval: int = 1,
    frames_per_second: float | None = None,
) -> list[Clip | VideoError]:
    """Take the clip in the middle of video files, cut to the size of a model.

    Args:
        model (MAERecognizer): decides size and length.
        files (list[str]): videos of any size.
        frame_interval (int): frames from one frame of the clip to the next.
        frames_per_second (float, optional): of the clip, instead of an interval.

    Returns:
        list[Clip | VideoError]: one per file; an error, which names it, for each that
        cannot be read.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    size = model.backbone.clip_size
    steps = center_clip_pipeline(size, frame_interval, frames_per_second)
    pipeline = Compose(_with_numbers(steps))
    missing = [file for file in files if not Path(file).is_file()]
    if missing:
        raise FileNotFoundError(f'no such video: {", ".join(missing)}')
    clips: list[Clip | VideoError] = []
    for file, name in zip(files, _short(files), strict=True):
        try:
            packed = pipeline(dict(filename=file, start_index=0, modality='RGB'))
            clips.append(Clip(name, packed))
        except Exception as error:  # decord raises a class of its own
            clips.append(unreadable(file, error))
    return clips


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
    pixels = clip.packed['inputs'][0]
    numbers = sample.metainfo.get('frame_inds')
    if numbers is not None:
        numbers = np.ravel(numbers)[: pixels.shape[1]].tolist()
    return draw_prediction(model, pixels, sample, clip.name, numbers)


@torch.no_grad()
def draw_masks(models: Iterable[tuple[str, MAERecognizer]], clip: Clip) -> np.ndarray:
    """Draw what several models see of one clip, a row for each.

    Args:
        models (Iterable[tuple[str, MAERecognizer]]): names, and models in evaluation
            mode; one is in memory at a time where they are made one by one.
        clip (Clip): as in :func:`draw_clip`.

    Returns:
        np.ndarray: uint8, shape (height, width, 3), RGB.
    """
    rows: dict[str, Row] = {}
    numbers: list[int] | None = None
    for name, model in models:
        sample = model.val_step(pseudo_collate([clip.packed]))[0].cpu()
        criterion = copy.deepcopy(model.criterion).cpu()
        drawn = prediction_rows(clip.packed['inputs'][0] / 255, sample, criterion)
        rows.setdefault('video', drawn['video'])
        rows[name] = drawn['masked input']
        frames = list(criterion.target.frames)
        inds = sample.metainfo.get('frame_inds')
        numbers = frames if inds is None else np.ravel(inds)[frames].tolist()
    title = f'{shorten(clip.name, MAX_TITLE)}   the tokens that each strategy sees'
    return assemble(rows, title, numbers)


def picture_path(folder: Path, clip: str, checkpoint: str) -> Path:
    """Name the picture of a clip that a model made.

    Args:
        folder (Path): where it goes.
        clip (str): name of the clip.
        checkpoint (str): file of the model.

    Returns:
        Path: a file whose name holds that of the clip and the last two parts of the
        checkpoint's; cut, with a hash, where a file system would not take it.
    """
    model = '_'.join(Path(os.path.abspath(checkpoint)).with_suffix('').parts[-2:])
    name = f'{clip}_{model}'.replace('/', '_').replace('.', '_')
    content = os.fsencode(name)
    if len(content) > _MAX_NAME:
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()[:8]
        name = f'{content[:_MAX_NAME].decode(errors="ignore")}_{digest}'
    return folder / f'{name}.png'
