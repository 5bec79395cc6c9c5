"""Masks over playing clips: what the checkpoints of a run see and predict."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from mmengine.device import get_device
from PIL import Image

from ..apis import pictures
from ..apis.clips import Clip, dataset_clips
from ..apis.models import load_model
from ..diagnosis.finding import describe_error
from ..models import MAERecognizer
from ..utils.text import printable
from ..video.error import VideoError
from .images import Encoded, encode
from .work_folder import Run

_ROWS = ('video', 'masked input', 'probability', 'honest prediction')
_CHECKPOINTS = 10  # at most, spread evenly
_WIDTH = 112  # pixels of a frame, at most
_SEED = 0  # of videos and masks


class Layer(NamedTuple):
    """Frames of a clip, side by side in one picture.

    Attributes:
        name (str): what they show.
        note (str): what their colors mean.
        uri (str): the picture.
    """

    name: str
    note: str
    uri: str


class Player(NamedTuple):
    """A clip, as several checkpoints see it.

    Attributes:
        name (str): of the video.
        frames (list[int]): numbers of its frames in the video.
        width (int): of a frame, in pixels.
        height (int): of a frame.
        video (str): the frames side by side, a ``data:`` URI.
        checkpoints (list[dict]): for each ``label``, ``note`` and ``layers``.
    """

    name: str
    frames: list[int]
    width: int
    height: int
    video: str
    checkpoints: list[dict[str, Any]]


def make_players(run: Run, count: int, limit: int) -> tuple[list[Player], list[str]]:
    """Run the checkpoints of a pre-training on some of its held-out videos.

    Masks are drawn from the same random numbers for each checkpoint, so that what
    differs was learned.

    Args:
        run (Run): with config and checkpoints.
        count (int): of clips.
        limit (int): characters of all pictures, at most.

    Returns:
        tuple[list[Player], list[str]]: the clips, and what could not be shown.
    """
    cfg = run.config
    if cfg is None or not run.checkpoints:
        return [], ['no checkpoint is left in the work folder, or no config']
    keys = [*run.checkpoints]
    chosen = np.linspace(0, len(keys) - 1, min(len(keys), _CHECKPOINTS)).round()
    keys = [keys[int(i)] for i in chosen]
    notes: list[str] = []
    players: dict[str, Player] = {}
    clips: list[Clip] = []
    share = limit // max(1, count * (1 + len(keys) * (len(_ROWS) - 1)))
    for kind, number in keys:
        path = run.checkpoints[kind, number]
        try:
            model = load_model(cfg, str(path), MAERecognizer).to(get_device())
        # It may be damaged, or of another model; the next one need not be.
        except Exception as error:
            notes.append(describe_error(error))
            continue
        if not clips:
            split = 'val' if cfg.get('val_dataloader') else 'train'
            for clip in dataset_clips(cfg, split, count, _SEED):
                if isinstance(clip, VideoError):
                    notes.append(printable(str(clip)))
                else:
                    clips.append(clip)
        for clip in clips:
            picture = pictures.look({'': model}, clip, _ROWS, _SEED)
            ((label, rows),) = picture.lines.items()
            strips = {name: _strip(row.images) for name, row in rows.items()}
            encoded = _encode(strips, share)
            if encoded is None:
                notes.append(f'{clip.name}: too large for the page')
                continue
            if clip.name not in players:
                height, width = strips['video'].shape[:2]
                numbers = picture.numbers
                players[clip.name] = Player(
                    *(clip.name, numbers, width // len(numbers), height),
                    *(encoded['video'].uri, []),
                )
            unit = 'epoch' if kind == 'epoch' else 'iteration'
            players[clip.name].checkpoints.append(
                dict(
                    label=f'{unit} {number}',
                    note=picture.title.rpartition('   ')[2],
                    layers=[
                        Layer(name, _note(row), encoded[name].uri)._asdict()
                        for name, row in rows.items()
                        if name != 'video'
                    ],
                )
            )
    return [*players.values()], sorted({*notes})


def _encode(strips: dict[str, np.ndarray], limit: int) -> dict[str, Encoded] | None:
    """Encode pictures of at most so many characters each; None if one is too large."""
    encoded = {name: encode(image, limit) for name, image in strips.items()}
    found = {name: image for name, image in encoded.items() if image is not None}
    return found if len(found) == len(strips) else None


def _strip(images: np.ndarray) -> np.ndarray:
    """Put frames side by side, those of large ones smaller."""
    width, height = images.shape[2], images.shape[1]
    if width > _WIDTH:
        size = _WIDTH, max(1, round(height * _WIDTH / width))
        images = np.stack([np.asarray(Image.fromarray(i).resize(size)) for i in images])
    return np.concatenate([*images], axis=1)


def _note(row: Any) -> str:
    if row.colors is None:
        return row.note
    low, high = row.colors.get_clim()
    return f'{row.note} {low:.3g} (dark) to {high:.3g} (bright)'.strip()
