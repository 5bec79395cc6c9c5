"""What a loading pipeline costs on one core, and which of its transforms costs it."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any, TypeAlias

import av
import cv2
import numpy as np
from mmaction.registry import DATASETS, TRANSFORMS
from mmengine.config import Config

from projects.adamae.utils.fileio import atomic_path
from projects.adamae.video.reader import VideoReader

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class VideoKind:
    """Videos like those of a dataset.

    Args:
        name (str): which.
        height (int): in pixels.
        width (int): in pixels.
        fps (int): frames per second.
        frames (tuple[int, int]): fewest and most frames.
        frame_interval (int): stride of the published clips (arXiv:2211.09120).
        noise (float): standard deviation of the sensor's noise, in gray levels.
    """

    name: str
    height: int
    width: int
    fps: int
    frames: tuple[int, int]
    frame_interval: int
    noise: float


KINDS = (
    VideoKind('SSv2-like', 240, 428, 12, (45, 60), 2, 3.0),
    VideoKind('K400-like', 320, 428, 30, (300, 300), 4, 4.0),
)
BASELINE = 'MMAction2'
FLOOR = 'decoding alone'
# What is measured: a pipeline, or a RepeatAugDataset with its own.
Variant: TypeAlias = Sequence[dict] | Mapping[str, Any]
# Loaders that stand for each other.
_LOADERS = {'DecordInit': 'PyAVSkipInit', 'DecordDecode': 'PyAVSkipDecode'}
_DECORD = {ours: theirs for theirs, ours in _LOADERS.items()}


def write_videos(folder: Path, kind: VideoKind, count: int) -> list[str]:
    """Write videos with x264's default settings; those that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f'{kind.name}-{i}.mp4' for i in range(count)]
    for seed, path in enumerate(paths):
        if path.exists():
            continue
        with (
            atomic_path(path) as partial,
            av.open(str(partial), 'w', format='mp4') as container,
        ):
            stream = container.add_stream('libx264', rate=kind.fps)
            stream.width, stream.height = kind.width, kind.height
            stream.pix_fmt = 'yuv420p'
            stream.codec_context.thread_count = 1
            for image in _scene(kind, seed):
                frame = av.VideoFrame.from_ndarray(image, format='rgb24')
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return [str(path) for path in paths]


def _scene(kind: VideoKind, seed: int) -> Iterator[np.ndarray]:
    """Draw textured objects that move over a background, seen by an unsteady camera.

    The noise is as strong as leaves x264 as many B-frames as in real clips: about every
    second frame is needed by no other.
    """
    rng = np.random.default_rng(seed)
    height, width = kind.height, kind.width
    side = height // 2
    count = int(rng.integers(kind.frames[0], kind.frames[1] + 1))
    background = _texture(rng, 2 * height, 2 * width)
    objects = [_texture(rng, side, side) for _ in range(3)]
    places = rng.uniform(0, [width - side, height - side], (3, 2))
    # In pixels per second, for the same motion at any frame rate.
    speeds, pan = rng.uniform(-60, 60, (3, 2)), rng.uniform(-12, 12, 2)
    for t in np.arange(count) / kind.fps:
        x, y = (width / 2, height / 2) + pan * t + 3 * np.sin((2 * t, 1.5 * t))
        image = _shift(background, -x, -y, width, height)
        for texture, place, speed in zip(objects, places, speeds, strict=True):
            x, y = place + 40 * np.sin(speed * t / 40)
            covered = _shift(np.ones((side, side), np.float32), x, y, width, height)
            moved = _shift(texture, x, y, width, height)
            image = image * (1 - covered[..., None]) + moved * covered[..., None]
        image += rng.normal(0, kind.noise, (height, width, 1))
        yield image.clip(0, 255).astype(np.uint8)


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    image = np.full((height, width, 3), 120, np.float32)
    for octave in range(7):
        cells = 2 ** (octave + 1)
        noise = rng.normal(size=(cells, cells, 3)).astype(np.float32)
        image += 35 / 1.7**octave * cv2.resize(noise, (width, height))
    return image


def _shift(
    image: np.ndarray, x: float, y: float, width: int, height: int
) -> np.ndarray:
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(image, matrix, (width, height))


def published_pipeline(frame_interval: int) -> list[dict]:
    """Give the paper's pre-training pipeline, read as MMAction2 reads videos."""
    cfg = Config.fromfile(ROOT / 'configs/adamae_vitb_ssv2_pretrain.py').to_dict()
    pipeline = with_decord(cfg['train_dataloader']['dataset']['pipeline'])
    sample = next(t for t in pipeline if t['type'].endswith('SampleFrames'))
    sample['frame_interval'] = frame_interval
    return pipeline


def with_skipping(pipeline: Sequence[dict]) -> list[dict]:
    """Replace decord by ``PyAVSkipInit`` and ``PyAVSkipDecode``."""
    return [{**t, 'type': _LOADERS.get(t['type'], t['type'])} for t in pipeline]


def with_decord(pipeline: Sequence[dict]) -> list[dict]:
    """Replace ``PyAVSkipInit`` and ``PyAVSkipDecode`` by decord."""
    return [{**t, 'type': _DECORD.get(t['type'], t['type'])} for t in pipeline]


def with_repeats(pipeline: Sequence[dict], repeats: int) -> list[dict]:
    """Repeat what is between ``...Decode`` and ``FormatShape``, in a ``PerClip``."""
    types = [t['type'] for t in pipeline]
    first = next(i for i, t in enumerate(types) if t.endswith('Decode')) + 1
    last = types.index('FormatShape')
    inner = list(pipeline[first:last])
    per_clip = dict(type='PerClip', transforms=inner, repeats=repeats)
    return [*pipeline[:first], per_clip, *pipeline[last:]]


def variants(
    own: Variant | None, frame_interval: int, repeats: int = 4
) -> dict[str, Variant]:
    """Choose what to compare, by name, the baseline first.

    Args:
        own (Variant, optional): of a config; None for the published pipeline.
        frame_interval (int): stride of the published pipeline, the baseline.
        repeats (int): samples per clip, where there are several. Defaults to 4.
    """
    published = published_pipeline(frame_interval)
    several = f'{repeats} crops per decode'
    found: dict[str, Variant] = {BASELINE: published}
    if own is None:
        found[f'{BASELINE}, {several}'] = with_repeats(published, repeats)
        found['PyAVSkip'] = with_skipping(published)
        found[f'PyAVSkip, {several}'] = with_repeats(with_skipping(published), repeats)
    else:
        found['this config'] = own
        if isinstance(own, Mapping):
            return found
        for name, other in (
            ('PyAVSkip', with_skipping(own)),
            ('decord', with_decord(own)),
        ):
            if other != list(own):
                found[f'this config, {name}'] = other
    return found


@dataclass
class Measurement:
    """What was measured of one pipeline.

    Args:
        rates (list[float]): clips per second of processor time, one per round.
        parts (dict[str, float]): transform to milliseconds per video.
        clips (int): clips per video.
        problem (str | None): what its samples lack; None if nothing.
    """

    rates: list[float]
    parts: dict[str, float]
    clips: int
    problem: str | None


class _Runner:
    """A pipeline with a clock around each of its transforms."""

    def __init__(self, pipeline: Sequence[dict]) -> None:
        self.parts: dict[str, float] = defaultdict(float)
        self.transforms = [
            self._clocked(t['type'], TRANSFORMS.build(t)) for t in pipeline
        ]

    def _clocked(self, name: str, transform: Callable) -> Callable:
        def timed(results: Any) -> Any:
            begin = process_time()
            results = transform(results)
            self.parts[name] += process_time() - begin
            return results

        return timed

    def __call__(self, info: dict) -> list[dict]:
        results: Any = info
        for transform in self.transforms:
            results = transform(results)
        return [results]


class _Repeating(_Runner):
    """MMAction2's dataset that draws several times from a decode, with clocks."""

    def __init__(self, dataset: Mapping[str, Any]) -> None:
        super().__init__([])
        # No list of videos: each is handed to it.
        unlisted = {**dataset, 'ann_file': '', 'lazy_init': True}
        self.dataset: Any = DATASETS.build(unlisted)
        self.dataset.test_mode = True  # nothing takes the place of a bad video
        self.dataset.pipeline.transforms = [
            self._clocked(t['type'], transform)
            for t, transform in zip(
                dataset['pipeline'], self.dataset.pipeline.transforms, strict=True
            )
        ]

    def __call__(self, info: dict) -> list[dict]:
        self.dataset.get_data_info = lambda index: info
        return self.dataset.prepare_data(0)


class _Floor(_Runner):
    """Decode what a pipeline asks for, and do nothing with it."""

    def __init__(self, variant: Variant) -> None:
        super().__init__([])
        pipeline, self.repeats = variant, 1
        if isinstance(variant, Mapping):
            pipeline, self.repeats = variant['pipeline'], variant.get('num_repeats', 4)
        sample = next(t for t in pipeline if 'Sample' in t['type'])
        self.sample = TRANSFORMS.build(sample)
        self.clips = self.repeats * sample.get('num_clips', 1)

    def __call__(self, info: dict) -> list[dict]:
        self._clocked(FLOOR, self._decode)(info)
        return []

    def _decode(self, info: dict) -> None:
        reader = VideoReader(info['filename'])
        counted = dict(total_frames=len(reader), start_index=0)
        draws = [self.sample({**counted})['frame_inds'] for _ in range(self.repeats)]
        reader.decode(np.concatenate([draw.ravel() for draw in draws]).tolist())


def measure(
    pipelines: Mapping[str, Variant], files: Sequence[str], rounds: int
) -> dict[str, Measurement]:
    """Measure pipelines against each other.

    In every round each video goes through each pipeline in turn, with the same random
    numbers. Time is the process's processor time, threads of a decoder included.

    Args:
        pipelines (dict): what to measure, by name.
        files (Sequence[str]): the videos.
        rounds (int): how often. One more goes before, unmeasured.

    Returns:
        dict[str, Measurement]: of each pipeline, and of :data:`FLOOR`: what the last
        one samples, decoded by :class:`VideoReader` and nothing else.
    """
    runners: dict[str, _Runner] = {
        name: _Repeating(variant) if isinstance(variant, Mapping) else _Runner(variant)
        for name, variant in pipelines.items()
    }
    runners[FLOOR] = floor = _Floor(list(pipelines.values())[-1])
    rates: dict[str, list[float]] = defaultdict(list)
    clips, problems = {FLOOR: floor.clips}, dict.fromkeys(runners)
    for round_ in range(rounds + 1):
        times: dict[str, float] = defaultdict(float)
        if round_ == 1:
            for runner in runners.values():
                runner.parts.clear()
        for number, file in enumerate(files):
            for name, runner in runners.items():
                random.seed(round_ * len(files) + number)
                np.random.seed(round_ * len(files) + number)
                begin = process_time()
                info = dict(filename=file, label=0, start_index=0, modality='RGB')
                try:
                    samples = runner(info)
                except Exception as error:  # decord raises a class of its own
                    text = f'{file}: {type(error).__name__}: {error}'
                    raise ValueError(text) from error
                times[name] += process_time() - begin
                if samples:
                    clips[name] = sum(len(sample['inputs']) for sample in samples)
                    problems[name] = _problem(samples[0]['inputs'])
        if round_:
            for name, seconds in times.items():
                rates[name].append(clips[name] * len(files) / seconds)
    videos = rounds * len(files)
    return {
        name: Measurement(
            rates[name],
            {part: 1e3 * spent / videos for part, spent in runner.parts.items()},
            clips[name],
            problems[name],
        )
        for name, runner in runners.items()
    }


def _problem(inputs: Any) -> str | None:
    """Say why a sample costs more than it must on its way to the device."""
    if str(inputs.dtype) != 'torch.uint8':
        return f'{inputs.dtype} instead of uint8'
    if inputs.untyped_storage().nbytes() != inputs.numel():
        return 'a tensor that is part of a larger one'
    return None
