"""Pictures of what a masked autoencoder sees, predicts and looks at."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import set_random_seed

from ..models.build import build_part
from ..models.losses import AdaMAELoss
from ..models.mae_recognizer import MAERecognizer
from ..video.error import VideoError
from ..visualization.files import save_picture
from ..visualization.picture import Picture, make_picture
from ..visualization.rows import ROWS
from .clips import Clip, Clips

# Raise it when pictures change.
_VERSION = 2
# Bytes of a file's name, short of the 255 that file systems take.
_MAX_NAME = 200


def with_sampler(model: MAERecognizer, sampler: dict[str, Any]) -> MAERecognizer:
    """Give a model that masks in another way, and shares all weights with the first.

    Args:
        model (MAERecognizer): in evaluation mode.
        sampler (dict): config of its sampler. One of the same class gets its weights.

    Returns:
        MAERecognizer: in evaluation mode.

    Raises:
        ValueError: if the sampler does not fit, as with a ratio that masks nothing.
    """
    tensors = (*model.parameters(), *model.buffers())
    other = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    grid, width = model.backbone.token_grid, model.backbone.embed_dims
    other.sampler = build_part(sampler, grid_size=grid, in_channels=width)
    if type(other.sampler) is type(model.sampler):
        other.sampler.load_state_dict(model.sampler.state_dict())
    return other.to(next(model.parameters()).device).eval()


@torch.no_grad()
def run_model(
    model: MAERecognizer, clip: Clip, seed: int | None = None
) -> tuple[ActionDataSample, AdaMAELoss]:
    """Run a model on a clip; if there are several of the video in it, on the first.

    Args:
        model (MAERecognizer): in evaluation mode.
        clip (Clip): of the model's size.
        seed (int, optional): of the mask. Defaults to None: go on drawing.

    Returns:
        tuple[ActionDataSample, AdaMAELoss]: for :func:`.make_picture`.
    """
    if seed is not None:
        torch.manual_seed(seed)
    sample = model.val_step(pseudo_collate([clip.packed]))[0]
    return sample.cpu(), model.criterion


def look(
    models: Mapping[str, MAERecognizer],
    clip: Clip,
    rows: Collection[str] = ROWS,
    seed: int | None = None,
) -> Picture:
    """Run models on a clip.

    Args:
        models (Mapping[str, MAERecognizer]): in evaluation mode, by name; all take
            clips of one size.
        clip (Clip): see :func:`run_model`.
        rows (Collection[str]): which of :data:`.ROWS`. Defaults to all.
        seed (int, optional): of the masks, the same for each model. Defaults to None:
            go on drawing.

    Returns:
        Picture: to be drawn.

    Raises:
        ValueError: if no model has one of the rows.
    """
    found = {name: run_model(model, clip, seed) for name, model in models.items()}
    preprocessor = next(iter(models.values())).data_preprocessor
    pixels = preprocessor.swap_colors(clip.packed['inputs'][0])
    return make_picture(pixels, found, clip.name, rows)


class Drawn(NamedTuple):
    """The files of a clip.

    Attributes:
        paths (list[Path]): one for each format.
        new (list[Path]): those of them that were not there.
        error (str): why the video cannot be read, with its name; ``''`` if it can.
    """

    paths: list[Path]
    new: list[Path]
    error: str = ''


def draw_clips(
    models: Mapping[str, MAERecognizer],
    clips: Clips,
    folder: Path,
    checkpoint: str,
    settings: object,
    rows: Collection[str] = ROWS,
    seed: int = 0,
    formats: Sequence[str] = ('png',),
) -> Iterator[Drawn]:
    """Draw clips, one at a time, and keep pictures that are there.

    Args:
        models (Mapping[str, MAERecognizer]): see :func:`look`.
        clips (Clips): any number.
        folder (Path): of the pictures.
        checkpoint (str): in the names of the pictures.
        settings (object): what decides on models and clips. With rows, seed and the
            state of the video it is in the name of a picture, as a hash of its repr.
        rows (Collection[str]): see :func:`look`.
        seed (int): of clips and masks.
        formats (Sequence[str]): some of ``'png'``, ``'gif'`` and ``'mp4'``.

    Yields:
        Drawn: the files of each clip.
    """
    for index, (name, source) in enumerate(
        zip(clips.names, clips.sources, strict=True)
    ):
        decided_by = repr((_VERSION, settings, rows, seed, file_state(source)))
        sheet = picture_path(folder, name, checkpoint, decided_by)
        paths = [sheet.with_suffix(f'.{kind}') for kind in formats]
        new = [path for path in paths if not path.exists()]
        if new:
            # Each by itself: the same after a stop, and whatever comes before.
            set_random_seed(seed)
            clip = clips[index]
            if isinstance(clip, VideoError):
                yield Drawn(paths, [], str(clip))
                continue
            picture = look(models, clip, rows, seed)
            for path in new:
                save_picture(picture, path)
        yield Drawn(paths, new)


def picture_path(folder: Path, clip: str, checkpoint: str, settings: str = '') -> Path:
    """Name the picture of a clip that a model made.

    Args:
        folder (Path): where it goes.
        clip (str): name of the clip.
        checkpoint (str): file of the model.
        settings (str): all that decides what is in the picture, of which a hash is
            put at the end. Defaults to none.

    Returns:
        Path: a file, ``.png``, whose name holds that of the clip and the last two parts
        of the checkpoint's; cut, with a hash, where a file system would not take it.
    """
    model = '_'.join(Path(os.path.abspath(checkpoint)).with_suffix('').parts[-2:])
    name = f'{clip}_{model}'.replace('/', '_').replace('.', '_')
    content = os.fsencode(name)
    if len(content) > _MAX_NAME:
        name = f'{content[:_MAX_NAME].decode(errors="ignore")}_{_digest(content)}'
    if settings:
        name = f'{name}_{_digest(settings.encode(errors="surrogateescape"))}'
    return folder / f'{name}.png'


def settings_of(cfg: Config, checkpoint: str, *others: Any) -> tuple[Any, ...]:
    """Collect what a model draws with, for :func:`draw_clips`.

    Args:
        cfg (Config): of the model.
        checkpoint (str): its file, told from others of its name by size and time.
        *others (Any): all else that decides what is drawn.

    Returns:
        tuple: different if something of it is.
    """
    return cfg.model.to_dict(), file_state(checkpoint), *others


def file_state(path: str) -> tuple[str, int, int]:
    """Tell a file from others, and from what it was before it changed.

    Returns:
        tuple[str, int, int]: its path, bytes and time; zeros if it is not there.
    """
    try:
        stat = os.stat(path)
    except (OSError, ValueError):
        return path, 0, 0
    return os.path.abspath(path), stat.st_size, stat.st_mtime_ns


def _digest(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()[:8]
