"""Make videos small and quick to decode, once, before they are read 800 times."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import av.filter
from av.video.reformatter import ColorRange
from mmengine.utils import track_parallel_progress, track_progress

from ..datasets.video_folder_dataset import find_videos

DESCRIPTION = 'transcode.json'


@dataclass(frozen=True)
class TranscodeSpec:
    """What the new files are like: H.264 in MP4, 8 bits, 4:2:0, no sound.

    Args:
        short_side (int): height or width in pixels, whichever is less, even. Smaller
            videos keep their size. Defaults to 256.
        gop (int): most frames from one key frame to the next. Reading begins at a key
            frame, so short is quick to read and long is small. Defaults to 30.
        crf (int): x264's quality, 0 (lossless) to 51. Defaults to 23.
        preset (str): x264's effort. Defaults to 'medium'.
        fast_decode (bool): leave out the parts of H.264 that are slow to decode
            (x264's ``tune=fastdecode``: no CABAC, no deblocking filter); files grow
            and look a little worse. Defaults to False.

    Raises:
        ValueError: if a number is out of range.
    """

    short_side: int = 256
    gop: int = 30
    crf: int = 23
    preset: str = 'medium'
    fast_decode: bool = False

    def __post_init__(self) -> None:
        for name, good, expected in (
            ('short_side', self.short_side >= 16 and self.short_side % 2 == 0, 'even'),
            ('gop', self.gop >= 1, 'at least 1'),
            ('crf', 0 <= self.crf <= 51, '0 to 51'),
        ):
            if not good:
                got = getattr(self, name)
                raise ValueError(f'{name}: expected {expected}, got {got}')

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Give the new size of a frame: same shape, even numbers.

        Args:
            width (int): in pixels.
            height (int): in pixels.

        Returns:
            tuple[int, int]: new width and height.
        """
        scale = min(1.0, self.short_side / min(width, height))
        new_width, new_height = (
            max(2, round(n * scale / 2) * 2) for n in (width, height)
        )
        return new_width, new_height


def transcode_folder(
    source: str | Path, target: str | Path, spec: TranscodeSpec, workers: int = 1
) -> tuple[int, int, dict[str, str]]:
    """Transcode every video below a folder into the same places below another.

    A new file appears under its name when it is complete, so that a run that was
    killed goes on where it stopped.

    Args:
        source (str | Path): folder of the videos. Nothing in it is changed.
        target (str | Path): folder of the new files; names end in ``.mp4``.
        spec (TranscodeSpec): what they are like.
        workers (int): processes. Defaults to 1.

    Returns:
        tuple[int, int, dict[str, str]]: files written, files that were there already,
        and for each one that could not be read what is wrong with it.

    Raises:
        FileNotFoundError: if there is no such folder or no video in it.
        FileExistsError: if ``target`` was made with another ``spec``.
        ValueError: if one folder lies in the other, or two videos would have one name.
    """
    source, target = Path(source), Path(target)
    here, there = source.resolve(), target.resolve()
    if here.is_relative_to(there) or there.is_relative_to(here):
        raise ValueError(
            f'expected two folders, neither in the other, got {here} and {there}; '
            'originals are never overwritten'
        )
    names = [Path(f).relative_to(source) for f in find_videos(source, 'source')]
    targets = Counter(name.with_suffix('.mp4') for name in names)
    for name, count in targets.items():
        if count > 1:
            raise ValueError(
                f'expected one video for {target / name}, got {count} with that name '
                f'and different endings in {source}; rename one'
            )
    _describe(target, spec)
    todo = [n for n in names if not (target / n.with_suffix('.mp4')).exists()]
    work = partial(_try_file, source, target, spec)
    if workers > 1 and len(todo) > 1:
        errors = track_parallel_progress(work, todo, min(workers, len(todo)))
    else:
        errors = track_progress(work, todo) if todo else []
    failed = {
        str(source / name): error
        for name, error in zip(todo, errors, strict=True)
        if error is not None
    }
    return len(todo) - len(failed), len(names) - len(todo), failed


def _describe(target: Path, spec: TranscodeSpec) -> None:
    """Write down the spec, or compare it with that of the files that are there."""
    path, wanted = target / DESCRIPTION, asdict(spec)
    if path.exists():
        found = json.loads(path.read_text('utf-8'))
        if found != wanted:
            raise FileExistsError(
                f'{path}: expected files made with {wanted}, got {found}; choose '
                'another folder, or the same options'
            )
        return
    target.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_suffix('.partial')
    partial_path.write_text(json.dumps(wanted, indent=2), 'utf-8')
    partial_path.replace(path)


def _try_file(
    source: Path, target: Path, spec: TranscodeSpec, name: Path
) -> str | None:
    """Transcode one file; returns what is wrong with it."""
    try:
        transcode_file(source / name, target / name.with_suffix('.mp4'), spec)
    except (av.FFmpegError, OSError) as error:
        return str(getattr(error, 'strerror', None) or error)
    return None


def transcode_file(source: str | Path, target: str | Path, spec: TranscodeSpec) -> None:
    """Transcode one video; frames keep their times.

    Args:
        source (str | Path): the video.
        target (str | Path): the new file; its folder is created.
        spec (TranscodeSpec): what it is like.

    Raises:
        FileExistsError: if ``target`` exists.
        OSError: if the video cannot be read to its end, or the new file not written.
        av.FFmpegError: the same.
    """
    source, target = Path(source), Path(target)
    if target.exists():
        raise FileExistsError(f'{target} exists')
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(target.name + '.partial')
    try:
        _write(source, unfinished, spec)
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def _write(source: Path, target: Path, spec: TranscodeSpec) -> None:
    with av.open(f'file:{source}') as reading:
        if not reading.streams.video:
            raise OSError('no video stream')
        stream: Any = reading.streams.video[0]
        stream.thread_type = 'NONE'
        with av.open(f'file:{target}', 'w', format='mp4') as writing:
            encoder: Any = None
            last: int | None = None
            for frame in _upright(reading.decode(stream), stream):
                if encoder is None:
                    encoder = _add_stream(writing, stream, frame, spec)
                small = frame.reformat(
                    encoder.width,
                    encoder.height,
                    'yuv420p',
                    dst_color_range=ColorRange.MPEG,
                    interpolation='BICUBIC',
                )
                # AVI stores no times of showing; frames come in their order.
                if last is None:
                    last = frame.pts or 0
                elif frame.pts is None or frame.pts <= last:
                    last += max(1, round(1 / (_rate(stream) * stream.time_base)))
                else:
                    last = frame.pts
                small.pts, small.time_base = last, stream.time_base
                small.pict_type = 0  # x264 chooses its own key frames
                writing.mux(encoder.encode(small))
            if encoder is None:
                raise OSError('no frame can be decoded')
            writing.mux(encoder.encode(None))


def _upright(frames: Iterator[av.VideoFrame], stream: Any) -> Iterator[av.VideoFrame]:
    """Turn pictures that the file says lie on their side; the new one says nothing."""
    graph: Any = None
    for frame in frames:
        turns = round(frame.rotation / 90) % 4  # against the clock
        if turns:
            if graph is None:
                graph = av.filter.Graph()
                graph.link_nodes(
                    graph.add_buffer(template=stream),
                    *(graph.add(*turn) for turn in _TURNS[turns]),
                    graph.add('buffersink'),
                ).configure()
            graph.vpush(frame)
            frame = graph.vpull()
        yield frame


# FFmpeg's filters for that many quarter turns against the clock.
_TURNS: dict[int, list[tuple[str, ...]]] = {
    1: [('transpose', 'cclock')],
    2: [('hflip',), ('vflip',)],
    3: [('transpose', 'clock')],
}


def _rate(stream: Any) -> Fraction:
    """Frames a second."""
    return stream.average_rate or stream.guessed_rate or Fraction(25)


def _add_stream(
    writing: Any, source: Any, frame: av.VideoFrame, spec: TranscodeSpec
) -> Any:
    options = {'crf': str(spec.crf), 'preset': spec.preset, 'g': str(spec.gop)}
    if spec.fast_decode:
        options['tune'] = 'fastdecode'
    stream = writing.add_stream('libx264', rate=_rate(source), options=options)
    stream.width, stream.height = spec.size(frame.width, frame.height)
    stream.pix_fmt = 'yuv420p'
    context = stream.codec_context
    context.thread_count = 1
    context.time_base = stream.time_base = source.time_base
    # What turns the pixels into RGB again is part of the picture.
    context.color_range = ColorRange.MPEG
    old = source.codec_context
    context.colorspace = old.colorspace or 2  # what was RGB is not, so unspecified
    context.color_primaries, context.color_trc = old.color_primaries, old.color_trc
    return stream
