"""A small labeled dataset of real H.264 files whose label is a motion.

A textured square moves over a static, smooth background. The label is the direction
of the motion and nothing else: texture, size, speed, position and background are drawn
without looking at it, and the square leaves the frame on one side to come back on
the other, so that at any time it is equally likely to be anywhere. One frame gives
nothing away; every window of a few frames gives the label.

The background is static and smooth because normalized targets blow noise up to unit
variance: on a noisy background every token is equally hard, and there is nothing for
a mask sampler to learn.
"""

from __future__ import annotations

import io
import json
import shutil
import signal
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from ...utils.fileio import AtomicLocalBackend
from ...utils.progress import Progress
from ...video.writer import encode_video

#: Part of every dataset's description; raise it when the pictures change.
VERSION = 1
#: Widths at which decord 0.6.0 fails ("The size must exactly match").
UNREADABLE = (16, 24, 48, 72)
SPLITS = ('train', 'val')
DESCRIPTION = 'dataset.json'
UNFINISHED = 'dataset.json.partial'


@dataclass(frozen=True)
class MotionSpec:
    """Everything that decides what is in a dataset.

    Args:
        num_train (int): training videos. Defaults to 1600.
        num_val (int): held-out videos. Defaults to 200.
        size (int): height and width in pixels, even. Defaults to 32.
        num_frames (int): frames of a video. Defaults to 32.
        num_classes (int): K; class k moves at the angle ``2 * pi * k / K``, clockwise
            from the right. Defaults to 8.
        object_size (tuple[int, int]): smallest and largest side of the square in
            pixels. Defaults to a quarter and three eighths of ``size``.
        speed (tuple[float, float]): smallest and largest speed in pixels per frame.
            Defaults to 1/32 and 1/16 of ``size``.
        fps (int): frame rate written into the files. Defaults to 16.
        seed (int): of everything random. Defaults to 0.

    Raises:
        ValueError: if a number is out of range.
    """

    num_train: int = 1600
    num_val: int = 200
    size: int = 32
    num_frames: int = 32
    num_classes: int = 8
    object_size: tuple[int, int] = (0, 0)
    speed: tuple[float, float] = (0, 0)
    fps: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        size, half = self.size, self.size // 2
        if not any(self.object_size):
            object.__setattr__(self, 'object_size', (size // 4, size * 3 // 8))
        if not any(self.speed):
            object.__setattr__(self, 'speed', (size / 32, size / 16))
        (low, high), (slow, fast) = self.object_size, self.speed
        readable = size >= 16 and size % 2 == 0 and size not in UNREADABLE
        for name, good, expected in (
            ('size', readable, 'even, above 16 and not 24, 48 or 72'),
            ('num_train', self.num_train >= 1, 'at least 1'),
            ('num_val', self.num_val >= 1, 'at least 1'),
            ('num_frames', self.num_frames >= 2, 'at least 2'),
            ('num_classes', self.num_classes >= 2, 'at least 2'),
            ('fps', self.fps >= 1, 'at least 1'),
            ('seed', self.seed >= 0, 'at least 0'),
            ('object_size', 2 <= low <= high <= half, f'2 <= low <= high <= {half}'),
            # Faster, and the other way round the frame would be the shorter one.
            ('speed', 0 < slow <= fast < half, f'0 < low <= high < {half}'),
        ):
            if not good:
                got = getattr(self, name)
                raise ValueError(f'{name}: expected {expected}, got {got}')

    def description(self) -> dict:
        """Give the content of ``dataset.json``: version and all parameters."""
        return json.loads(json.dumps(dict(version=VERSION, **asdict(self))))

    def items(self) -> list[tuple[str, int]]:
        """List split and number of every video."""
        counts = zip(SPLITS, (self.num_train, self.num_val), strict=True)
        return [(split, index) for split, count in counts for index in range(count)]


def video_label(spec: MotionSpec, index: int) -> int:
    """Give the class of a video in its split; they alternate, so they are balanced."""
    return index % spec.num_classes


def render_video(
    spec: MotionSpec, split: str, index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the frames of one video.

    Args:
        spec (MotionSpec): the dataset.
        split (str): ``'train'`` or ``'val'``.
        index (int): number of the video in its split.

    Returns:
        tuple[np.ndarray, np.ndarray]: frames, uint8, shape (T, H, W, 3), RGB; and
        where the object is, bool, shape (T, H, W). They depend on the arguments only.
    """
    rng = np.random.default_rng([spec.seed, SPLITS.index(split), index])
    # The label is used after everything random has been drawn without it.
    background = _smooth_field(rng, spec.size)
    side = int(rng.integers(spec.object_size[0], spec.object_size[1] + 1))
    texture = _texture(rng, side)
    start = rng.uniform(0, spec.size, 2)
    speed = rng.uniform(*spec.speed)

    angle = 2 * np.pi * video_label(spec, index) / spec.num_classes
    step = speed * np.array([np.sin(angle), np.cos(angle)])  # row, column
    positions = np.floor(start + np.arange(spec.num_frames)[:, None] * step).astype(int)
    frames = np.repeat(background[None], spec.num_frames, axis=0)
    object_mask = np.zeros(frames.shape[:3], dtype=bool)
    for frame, mask, position in zip(frames, object_mask, positions, strict=True):
        box = np.ix_(*((p + np.arange(side)) % spec.size for p in position))
        frame[box] = texture
        mask[box] = True
    return frames, object_mask


def _smooth_field(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a background, uint8 (size, size, 3): waves longer than the frame.

    Brightness varies most, so that no channel is flat anywhere: that would leave
    nothing but coding noise in its normalized targets.
    """
    row, column = np.mgrid[:size, :size] / size
    waves = []
    for _ in range(4):
        angle, phase = rng.uniform(0, 2 * np.pi, 2)
        frequency = rng.uniform(0.4, 0.8) * 2 * np.pi
        along = np.cos(angle) * column + np.sin(angle) * row
        waves.append(np.sin(frequency * along + phase))
    brightness, *others = waves
    color = np.stack(others, axis=-1) * 20 + rng.uniform(-20, 20, 3)
    return np.rint(128 + 60 * brightness[..., None] + color).astype(np.uint8)


def _texture(rng: np.random.Generator, side: int) -> np.ndarray:
    """Draw an object, uint8 (side, side, 3): dark and light cells, lightly tinted.

    The contrast is in the brightness because H.264 halves the resolution of color,
    and it goes beyond the range of the background.
    """
    cells = -(-side // 2)
    light = rng.integers(0, 2, (cells, cells))
    value = np.where(light, 225.0, 30.0) + rng.uniform(-20, 20, light.shape)
    value = value.repeat(2, axis=0).repeat(2, axis=1)[:side, :side, None]
    tint = rng.uniform(-20, 20, 3)
    return np.clip(np.rint(value + tint), 0, 255).astype(np.uint8)


def video_path(out: Path, split: str, index: int) -> Path:
    """Give the file of a video: ``out/videos/<split>/<index>.mp4``."""
    return Path(out) / 'videos' / split / f'{index:05d}.mp4'


def mask_path(out: Path, split: str, index: int) -> Path:
    """Give the file of its object mask: ``out/object_masks/<split>/<index>.npz``."""
    return Path(out) / 'object_masks' / split / f'{index:05d}.npz'


def write_video(item: tuple[str, int], spec: MotionSpec, out: Path) -> None:
    """Render a video, given by split and number; write it and its object mask."""
    frames, object_mask = render_video(spec, *item)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, object_mask=object_mask)
    # The video last: where it exists, its mask does.
    files = AtomicLocalBackend()
    files.put(buffer.getvalue(), mask_path(out, *item))
    files.put(encode_video(frames, spec.fps), video_path(out, *item))


def make_dataset(
    out: str | Path, spec: MotionSpec, workers: int = 1, overwrite: bool = False
) -> int:
    """Make a dataset, or what an interrupted run left undone of it.

    The folder then holds ``videos/{train,val}/NNNNN.mp4``; ``train.txt`` and
    ``val.txt`` for MMAction2's ``VideoDataset`` (``path label``, the path relative to
    ``videos``); ``object_masks/{train,val}/NNNNN.npz`` (``object_mask``: bool, shape
    (T, H, W)); and ``dataset.json``, the parameters, which comes last.

    Args:
        out (str | Path): folder of the dataset.
        spec (MotionSpec): what to make.
        workers (int): processes. The result does not depend on it. Defaults to 1.
        overwrite (bool): replace a dataset with other parameters. Defaults to False.

    Returns:
        int: number of videos written; 0 if all were there already.

    Raises:
        FileExistsError: if the folder holds a dataset with other parameters and
            ``overwrite`` is off, or if it holds something else altogether.
    """
    out = Path(out)
    _prepare_folder(out, spec, overwrite)
    items = [item for item in spec.items() if not video_path(out, *item).exists()]
    work = partial(write_video, spec=spec, out=out)
    with Progress('making videos', len(items)) as progress, ExitStack() as stack:
        made: Iterable[None] = map(work, items)
        if items and workers > 1:
            # Only this process says that it was interrupted.
            ignore = signal.signal, (signal.SIGINT, signal.SIG_IGN)
            pool = stack.enter_context(Pool(min(workers, len(items)), *ignore))
            made = pool.imap_unordered(work, items, chunksize=4)
        for _ in progress.track(made):
            pass
    for split in SPLITS:
        lines = [
            f'{split}/{video_path(out, split, index).name} {video_label(spec, index)}\n'
            for name, index in spec.items()
            if name == split
        ]
        AtomicLocalBackend().put_text(''.join(lines), out / f'{split}.txt')
    if (out / UNFINISHED).exists():
        (out / UNFINISHED).replace(out / DESCRIPTION)
    return len(items)


def _prepare_folder(out: Path, spec: MotionSpec, overwrite: bool) -> None:
    """Make sure that the folder holds this dataset, or the beginning of it."""
    wanted = spec.description()
    present = [out / n for n in (DESCRIPTION, UNFINISHED) if (out / n).exists()]
    if present:
        found = json.loads(present[0].read_text())
        if found == wanted:
            return
        if not overwrite:
            differences = ', '.join(
                f'{key}={found.get(key)} (wanted: {wanted.get(key)})'
                for key in {**wanted, **found}
                if found.get(key) != wanted.get(key)
            )
            raise FileExistsError(
                f'{out} holds a motion dataset with {differences}: choose another '
                'folder, the same parameters, or --overwrite'
            )
        # The description goes last: until then, the rest is known to be ours.
        for folder in ('videos', 'object_masks'):
            shutil.rmtree(out / folder, ignore_errors=True)
        for path in [*(out / f'{split}.txt' for split in SPLITS), *present]:
            path.unlink(missing_ok=True)
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(
            f'{out} is not empty and holds no motion dataset: choose another folder'
        )
    AtomicLocalBackend().put_text(json.dumps(wanted, indent=2), out / UNFINISHED)
