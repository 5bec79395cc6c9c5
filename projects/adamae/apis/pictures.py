"""Pictures of what a masked autoencoder sees, predicts and looks at."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from PIL import Image

from ..datasets.checked_decord import check_decord
from ..datasets.from_config import (
    center_clip_pipeline,
    iter_built,
    iter_datasets,
    video_name,
)
from ..datasets.loading import UnreachableVideoError, guard_loading
from ..evaluation.features import ErrorsAsValues, unreadable
from ..models.build import build_part
from ..models.mae_recognizer import MAERecognizer
from ..utils.fileio import atomic_path
from ..utils.text import shorten
from ..video.error import VideoError
from ..video.writer import encode_video
from ..visualization.rows import DARK, GRAY, LIGHT, ROWS, Row, prediction_rows
from ..visualization.sheet import (
    MAX_TITLE,
    OUTLINE,
    assemble,
    color_table,
    describe,
    play,
)
from . import predict

#: Of moving pictures: slow, to see what the mask does.
FRAMES_PER_SECOND = 5
# Raise it when pictures change.
_VERSION = 1

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


class Clips(Sequence[Clip | VideoError]):
    """Clips that are read when they are asked for, one at a time.

    Args:
        names (Sequence[str]): see :class:`Clip`.
        read (Callable[[int], Any]): gives what is packed of a number, or an error.
        sources (Sequence[str]): file or folder of each.
    """

    def __init__(
        self, names: Sequence[str], read: Callable[[int], Any], sources: Sequence[str]
    ) -> None:
        self.names, self.sources = names, sources
        self._read = read

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> Any:
        """Read a clip; an error, which names the file, if it cannot be read.

        Raises:
            UnreachableVideoError: if that is not the fault of the file.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        packed = self._read(range(len(self))[index])
        if isinstance(packed, VideoError):
            return packed
        return Clip(self.names[index], _first(packed))


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
    files = [video_name(dataset.get_data_info(i)) for i in numbers]
    return Clips(_short(files), lambda index: videos[numbers[index]], files)


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
    files: Sequence[str],
    frame_interval: int = 1,
    frames_per_second: float | None = None,
) -> Clips:
    """Take the clip in the middle of video files, cut to the size of a model.

    Args:
        model (MAERecognizer): decides size and length.
        files (Sequence[str]): videos of any size.
        frame_interval (int): frames from one frame of the clip to the next.
        frames_per_second (float, optional): of the clip, instead of an interval.

    Returns:
        Clips: one per file; an error, which names it, for each that cannot be read.
    """
    size = model.backbone.clip_size
    steps = center_clip_pipeline(size, frame_interval, frames_per_second)
    pipeline = Compose(_with_numbers(steps))
    pipeline.transforms = guard_loading(pipeline.transforms)

    def read(index: int) -> Any:
        file = files[index]
        try:
            return pipeline(dict(filename=file, start_index=0, modality='RGB'))
        except UnreachableVideoError:
            raise  # the next ones will not be read either
        except Exception as error:  # libraries raise classes of their own
            return unreadable(file, error)

    return Clips(_short(files), read, files)


def find_files(sources: Sequence[str]) -> list[str]:
    """List the videos that a command line means, see :func:`.predict.find_files`.

    Raises:
        FileNotFoundError: also if a single file does not exist.
    """
    missing = [source for source in sources if not Path(source).exists()]
    if missing:
        raise FileNotFoundError(f'no such video: {", ".join(missing)}')
    return predict.find_files(sources)


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


class Picture(NamedTuple):
    """What models make of a clip, ready to be drawn.

    Attributes:
        lines (dict[str, dict[str, Row]]): rows by the name of the model, one image per
            time step of tokens.
        moving (dict[str, dict[str, Row]]): the same with all predicted frames.
        title (str): headline.
        numbers (list[list[int]]): of the frames of both in their video.
        outlines (list[np.ndarray | None]): an object in both.
    """

    lines: dict[str, dict[str, Row]]
    moving: dict[str, dict[str, Row]]
    title: str
    numbers: list[list[int]]
    outlines: list[np.ndarray | None]

    def sheet(self) -> np.ndarray:
        """Draw time steps next to each other: uint8, shape (height, width, 3), RGB."""
        rows: dict[str, Row] = {}
        for model, line in self.lines.items():
            for name, row in line.items():
                # The video is the same for all.
                is_shared = name == 'video' or len(self.lines) == 1
                rows[name if is_shared else f'{model}\n{name}'] = row
        return assemble(rows, self.title, self.numbers[0], self.outlines[0])

    def frames(self) -> Iterator[np.ndarray]:
        """Draw one frame after the other: uint8, shape (height, width, 3), RGB."""
        return play(self.moving, self.title, self.numbers[1], self.outlines[1])


@torch.no_grad()
def look(
    models: Mapping[str, MAERecognizer],
    clip: Clip,
    rows: Collection[str] = ROWS,
    seed: int | None = None,
    moving: bool = True,
) -> Picture:
    """Run models on a clip.

    Args:
        models (Mapping[str, MAERecognizer]): in evaluation mode, by name; all take
            clips of one size.
        clip (Clip): from :func:`dataset_clips` or :func:`video_clips`; if there are
            several clips of the video in it, the first is taken.
        rows (Collection[str]): which of :data:`.ROWS`. Defaults to all.
        seed (int, optional): of the masks, the same for each model. Defaults to None:
            go on drawing.
        moving (bool): whether to prepare moving pictures, too. Defaults to True.

    Returns:
        Picture: to be drawn.

    Raises:
        ValueError: if no model has one of the rows.
    """
    pixels = clip.packed['inputs'][0].float() / 255
    lines: dict[str, dict[str, Row]] = {}
    moves: dict[str, dict[str, Row]] = {}
    title = shorten(clip.name, MAX_TITLE)
    for name, model in models.items():
        if seed is not None:
            torch.manual_seed(seed)
        sample = model.val_step(pseudo_collate([clip.packed]))[0].cpu()
        criterion = copy.deepcopy(model.criterion).cpu()
        target = criterion.target
        label = f'{name}\n{describe(sample)}'.strip()
        if len(models) == 1:
            title, label = f'{title}   {describe(sample)}'.strip(), name
        chosen = [(lines, target.frames)]
        if moving:
            chosen.append((moves, target.predicted_frames))
        for found, frames in chosen:
            drawn = prediction_rows(pixels, sample, criterion, frames)
            found[label] = {key: row for key, row in drawn.items() if key in rows}
            has = [*drawn]
    if not any(lines.values()):
        raise ValueError(
            f'rows: expected some of {", ".join(has)}, which this model has, got '
            f'{", ".join(map(repr, rows))}'
        )
    inds = sample.metainfo.get('frame_inds')
    numbers = np.arange(pixels.shape[1]) if inds is None else np.ravel(inds)
    both = target.frames, target.predicted_frames
    outline = np.asarray(sample.object_mask) if 'object_mask' in sample else None
    return Picture(
        lines,
        moves,
        title,
        [numbers[[*frames]].tolist() for frames in both],
        [None if outline is None else outline[[*frames]] for frames in both],
    )


def draw_clip(model: MAERecognizer, clip: Clip) -> np.ndarray:
    """Run a model on a clip and draw the outcome.

    Args:
        model (MAERecognizer): in evaluation mode.
        clip (Clip): see :func:`look`.

    Returns:
        np.ndarray: uint8, shape (height, width, 3), RGB.
    """
    return look({'': model}, clip, moving=False).sheet()


def save_picture(picture: Picture, path: Path) -> None:
    """Write a picture, whole or not at all.

    Args:
        picture (Picture): from :func:`look`.
        path (Path): ``.png`` for a sheet; ``.gif`` or ``.mp4`` for a moving picture,
            which plays :data:`FRAMES_PER_SECOND`.
    """
    with atomic_path(path) as partial:
        if path.suffix == '.mp4':
            partial.write_bytes(
                encode_video(np.stack([*picture.frames()]), FRAMES_PER_SECOND)
            )
        elif path.suffix == '.gif':
            colors = [
                row.colors for line in picture.moving.values() for row in line.values()
            ]
            first, *others = (
                _with_palette(frame, colors) for frame in picture.frames()
            )
            first.save(
                partial,
                'GIF',
                save_all=True,
                append_images=others,
                duration=1000 // FRAMES_PER_SECOND,
                loop=0,
            )
        else:
            Image.fromarray(picture.sheet()).save(partial, 'PNG')


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


def _with_palette(
    frame: np.ndarray, colors: Iterable[ScalarMappable | None]
) -> Image.Image:
    """Reduce a frame to 256 colors, among them enough of each color bar.

    Numbers are read from these: colors that are rare in a frame must not be replaced by
    others that stand for another number.
    """
    fixed = [np.array([(255, 255, 255), (0, 0, 0), OUTLINE], np.uint8)]
    fixed += [np.rint(np.array([DARK, LIGHT, (GRAY,) * 3]) * 255).astype(np.uint8)]
    maps = {bar.cmap.name: bar for bar in colors if bar is not None}
    fixed += [color_table(bar, 60) for bar in maps.values()]
    kept = np.unique(np.concatenate(fixed), axis=0)
    image = Image.fromarray(frame)
    free = image.quantize(256 - len(kept)).getpalette() or []
    palette = Image.new('P', (1, 1))
    palette.putpalette([*kept.flatten().tolist(), *free])
    return image.quantize(palette=palette, dither=Image.Dither.NONE)


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


def settings_of(cfg: Config, checkpoint: str, *others: Any) -> str:
    """Describe what a model draws with, for :func:`picture_path`.

    Args:
        cfg (Config): of the model.
        checkpoint (str): its file, told from others of its name by size and time.
        *others (Any): all else that decides what is drawn.

    Returns:
        str: different if something of it is.
    """
    return repr((_VERSION, cfg.model.to_dict(), file_state(checkpoint), others))


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
