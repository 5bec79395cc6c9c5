"""Make videos small and quick to decode, once, before they are read 800 times."""

from __future__ import annotations

import io
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import av
import av.filter
from av.video.reformatter import ColorRange

from ...utils.fileio import AtomicLocalBackend, atomic_path, reason_of
from ...video.folder import VIDEO_SUFFIXES, find_videos
from ...video.truncation import EndCheck, missing_bytes
from .worker_pool import run_in_processes

if sys.platform == 'win32':
    import msvcrt

    def _lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


DESCRIPTION = 'transcode.json'
LOCK = 'transcode.lock'
PRESETS = tuple(
    'ultrafast superfast veryfast faster fast medium slow slower veryslow placebo'
    .split()
)  # fmt: skip


class TargetError(OSError):
    """The new files cannot be written; nothing is wrong with the videos."""


@dataclass(frozen=True)
class TranscodeSpec:
    """What the new files are like: H.264 in MP4, 8 bits, 4:2:0, no sound.

    Args:
        short_side (int): height or width in pixels, whichever is less, even. Smaller
            videos keep their size. Defaults to 256.
        gop (int): most frames from one key frame to the next. Reading begins at a key
            frame, so short is quick to read and long is small. Defaults to 30.
        crf (int): x264's quality, 0 (lossless) to 51. Defaults to 23.
        preset (str): x264's effort, 'ultrafast' to 'placebo'. Defaults to 'medium'.
        fast_decode (bool): omit the parts of H.264 that are slow to decode
            (x264's ``tune=fastdecode``: no CABAC, no deblocking filter); files grow
            and look a little worse. Defaults to False.

    Raises:
        ValueError: if a number is out of range or there is no such preset.
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
            ('preset', self.preset in PRESETS, f'one of {", ".join(PRESETS)}'),
        ):
            if not good:
                got = getattr(self, name)
                raise ValueError(f'{name}: expected {expected}, got {got}')

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Give the new width and height of a frame: same shape, even numbers."""
        scale = min(1.0, self.short_side / min(width, height))
        new_width, new_height = (
            max(2, round(n * scale / 2) * 2) for n in (width, height)
        )
        return new_width, new_height


def transcode_folder(
    source: str | Path,
    target: str | Path,
    spec: TranscodeSpec,
    workers: int = 1,
    keep_truncated: bool = False,
) -> tuple[int, int, dict[str, str]]:
    """Transcode every video below a folder into the same places below another.

    A new file appears under its name when it is complete, so that a run that was
    killed goes on where it stopped.

    Args:
        source (str | Path): folder of the videos. Nothing in it is changed.
        target (str | Path): folder of the new files; names end in ``.mp4``.
        spec (TranscodeSpec): what they are like.
        workers (int): processes. Defaults to 1.
        keep_truncated (bool): write what is left of videos that end before the length
            in their header. Defaults to False.

    Returns:
        tuple[int, int, dict[str, str]]: files written, files that were there already,
        and for each one that was not written what is wrong with it.

    Raises:
        FileNotFoundError: if there is no such folder or no video in it.
        FileExistsError: if ``target`` was made with another ``spec`` or not by this
            function, or another run is writing into it.
        TargetError: if ``target`` cannot be written, or a link in it leads elsewhere.
        ValueError: if one folder lies in the other, two videos would have one name, or
            ``workers`` is less than 1.
    """
    source, target = Path(source), Path(target)
    here, there = source.resolve(), target.resolve()
    if here.is_relative_to(there) or there.is_relative_to(here):
        raise ValueError(
            f'expected two folders, neither in the other, got {here} and {there}; '
            'originals are never overwritten'
        )
    if workers < 1:
        raise ValueError(f'workers: expected at least 1, got {workers}')
    names = [Path(f).relative_to(source) for f in find_videos(source, 'source')]
    targets = Counter(name.with_suffix('.mp4') for name in names)
    for name, count in targets.items():
        if count > 1:
            raise ValueError(
                f'expected one video for {target / name}, got {count} with that name '
                f'and different endings in {source}; rename one'
            )
    reject_links(target, names)
    with locked_target(target, spec):
        todo = [n for n in names if not (target / n.with_suffix('.mp4')).exists()]
        work = partial(_try_file, source, target, spec, keep_truncated)
        title = 'transcoding videos'
        errors = run_in_processes(work, todo, title, workers, TargetError)
    failed = {
        str(source / name): error
        for name in todo
        if (error := errors[name]) is not None
    }
    return len(todo) - len(failed), len(names) - len(todo), failed


def reject_links(target: Path, names: Iterable[Path]) -> None:
    """Reject links that would have new files written elsewhere.

    Args:
        target (Path): folder of the new files.
        names (Iterable[Path]): theirs, below it.

    Raises:
        TargetError: if there is one.
    """
    there = target.resolve()
    for folder in {(target / name).parent for name in names}:
        if not folder.resolve().is_relative_to(there):
            raise TargetError(
                f'{folder}: expected a folder in {there}, got a link to '
                f'{folder.resolve()}; remove it, nothing is written elsewhere'
            )


@contextmanager
def locked_target(target: Path, spec: TranscodeSpec) -> Iterator[None]:
    """Keep other runs out of a folder that holds videos made with this spec only.

    Args:
        target (Path): the folder; created if there is none.
        spec (TranscodeSpec): what its files are like.

    Raises:
        FileExistsError: if it was made with another ``spec`` or not by this module, or
            another run is writing into it.
        TargetError: if it cannot be written.
    """
    with _as_target_error(target):
        target.mkdir(parents=True, exist_ok=True)
        lock = open(target / LOCK, 'ab')
    with lock:
        # Windows raises PermissionError if it is locked, others BlockingIOError.
        locked = False
        try:
            _lock(lock.fileno())
            locked = True
        except (BlockingIOError, PermissionError):
            raise FileExistsError(
                f'{target}: expected no other run, but one is writing into this '
                'folder; wait for it, or choose another folder'
            ) from None
        except OSError:
            pass  # some network folders have no locks; names are unique all the same
        # Only in a folder with a description are these files ours.
        ours = locked and (target / DESCRIPTION).exists()
        _describe(target, spec)
        if ours:
            _remove_partial_files(target)
        try:
            yield
        finally:
            if locked:  # processes that were killed leave theirs
                _remove_partial_files(target)


def _describe(target: Path, spec: TranscodeSpec) -> None:
    """Write down the spec, or compare it with that of the files that are there."""
    path, wanted = target / DESCRIPTION, asdict(spec)
    found = None
    with _as_target_error(path), suppress(FileNotFoundError):
        found = path.read_text('utf-8', errors='replace')
    with suppress(ValueError):
        found = json.loads(found or '')
    if found == wanted:
        return
    files = (p for p in target.rglob('*') if p.suffix.lower() in VIDEO_SUFFIXES)
    video = next(files, None)
    if video and found is None:
        raise FileExistsError(
            f'{target}: expected an empty folder or one with {DESCRIPTION}, found '
            f'{video}, which may be anything; choose another folder'
        )
    if video:
        raise FileExistsError(
            f'{path}: expected files made with {wanted}, got {found}; choose another '
            'folder, or the same options'
        )
    with _as_target_error(path):
        AtomicLocalBackend().put_text(json.dumps(wanted, indent=2), path)


def _remove_partial_files(target: Path) -> None:
    """Remove what a killed process left, by names that nobody else gives."""
    for path in list(target.rglob('*.partial')):
        if re.fullmatch('[0-9a-f]{32}', path.stem):
            with suppress(OSError):
                path.unlink()


@contextmanager
def _as_target_error(path: Path) -> Iterator[None]:
    """Turn errors of writing into ``TargetError``, unlike those of reading."""
    try:
        yield
    except OSError as error:
        raise TargetError(
            f'{path}: expected a place to write to, got "{reason_of(error, path)}"; '
            'make room, change permissions or choose another folder'
        ) from error


def _try_file(
    source: Path, target: Path, spec: TranscodeSpec, keep_truncated: bool, name: Path
) -> str | TargetError | None:
    new = target / name.with_suffix('.mp4')
    return problem_of(lambda: transcode_file(source / name, new, spec, keep_truncated))


def problem_of(write: Callable[[], None]) -> str | TargetError | None:
    """Write a file; returns what is wrong with its video, or with the target."""
    try:
        write()
    except TargetError as error:
        return error
    except OSError as error:
        return error.strerror or str(error)
    except Exception as error:  # whatever it is, the other videos go on
        return getattr(error, 'strerror', None) or f'{type(error).__name__}: {error}'
    return None


def transcode_file(
    source: str | Path,
    target: str | Path,
    spec: TranscodeSpec,
    keep_truncated: bool = False,
    start: float | None = None,
    end: float | None = None,
) -> None:
    """Transcode one video, or a segment of it; frames keep their times.

    Args:
        source (str | Path): the video.
        target (str | Path): the new file; its folder is created.
        spec (TranscodeSpec): what it is like.
        keep_truncated (bool): write what is left of a video that ends before the length
            in its header. Of a segment, that is never done. Defaults to False.
        start (float, optional): of a segment, in seconds from the first frame: the
            frames shown from there to before ``end`` are written, and the first of them
            is at 0. Defaults to None, the beginning.
        end (float, optional): of a segment, in seconds. Defaults to None, the end.

    Raises:
        FileExistsError: if ``target`` exists.
        TargetError: if it cannot be written.
        OSError: if the video cannot be read to its end, is truncated, or ends more than
            half a second before the segment.
        av.FFmpegError: if it cannot be read.
    """
    target = Path(target)
    if target.exists():
        raise FileExistsError(f'{target} exists')
    # Errors of reading stay what they are, unlike those of writing.
    with ExitStack() as stack:
        with _as_target_error(target):
            partial = stack.enter_context(atomic_path(target))
            file = stack.enter_context(_NewFile(partial, 'xb'))
        try:
            _write(source, file, spec, keep_truncated, start, end)
        finally:
            if file.error is not None:
                raise file.error from None
        with _as_target_error(target):
            stack.close()  # fsync and rename


class _NewFile(io.FileIO):
    """A file whose errors cannot be taken for those of the video that is read."""

    error: TargetError | None = None

    def write(self, data: Any) -> int:
        try:
            with (
                _as_target_error(Path(str(self.name)).parent),
                memoryview(data) as left,
            ):
                done = 0
                while done < len(left):
                    done += super().write(left[done:])
                return done
        except TargetError as error:
            self.error = error  # PyAV may lose it on its way through FFmpeg
            raise


def _write(
    source: str | Path,
    target: _NewFile,
    spec: TranscodeSpec,
    keep_truncated: bool,
    start: float | None,
    end: float | None,
) -> None:
    # Old files have titles in any encoding; nobody needs them here.
    with av.open(f'file:{source}', metadata_errors='replace') as reading:
        if not reading.streams.video:
            raise OSError('no video stream')
        stream: Any = reading.streams.video[0]
        stream.thread_type = 'NONE'
        is_segment = start is not None or end is not None
        if is_segment:
            frames = _segment(reading, stream, start or 0.0, end)
        else:
            frames = _frames(reading, stream, keep_truncated)
        offset = 0
        with av.open(target, 'w', format='mp4') as writing:
            encoder: Any = None
            last: int | None = None
            for frame in _autorotate(frames, stream):
                if encoder is None:
                    encoder = _add_stream(writing, stream, frame, spec)
                    offset = frame.pts or 0 if is_segment else 0
                small = frame.reformat(
                    encoder.width,
                    encoder.height,
                    'yuv420p',
                    dst_color_range=ColorRange.MPEG,
                    interpolation='BICUBIC',
                )
                # AVI stores no presentation times; frames come in their order.
                if last is None:
                    last = frame.pts or 0
                elif frame.pts is None or frame.pts <= last:
                    last += max(1, round(1 / (_rate(stream) * stream.time_base)))
                else:
                    last = frame.pts
                small.pts, small.time_base = last - offset, stream.time_base
                small.pict_type = 0  # x264 chooses its own key frames
                writing.mux(encoder.encode(small))
            if encoder is None:
                raise OSError('no frame can be decoded')
            writing.mux(encoder.encode(None))


def _frames(reading: Any, stream: Any, keep_truncated: bool) -> Iterator[av.VideoFrame]:
    """Decode a video; raises OSError if it is truncated, or FFmpeg makes up parts."""
    with open(reading.name.removeprefix('file:'), 'rb') as file:
        check = EndCheck(reading, stream, missing_bytes(file))
    damage: av.FFmpegError | None = None
    made_up = 0
    for packet in reading.demux(check.streams):
        check.add(packet)
        if packet.stream.index != stream.index:
            continue
        if damage is not None and packet.size:
            raise damage  # and more follows: the file is not just truncated
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            damage = error
            continue
        made_up += sum(frame.is_corrupt for frame in frames)
        yield from frames
    if keep_truncated:
        return
    if damage is not None:
        raise OSError(
            f'truncated in its last frame ({damage.strerror}); get it anew, or keep '
            'what is left (--keep-truncated)'
        )
    problem = check.problem()
    if problem:
        raise OSError(
            f'truncated: {problem}; get it anew, or keep what is left '
            '(--keep-truncated)'
        )
    if made_up:
        raise OSError(
            f'damaged: FFmpeg made up parts of {made_up} frames; get it anew, or keep '
            'them (--keep-truncated)'
        )


def _segment(
    reading: Any, stream: Any, start: float, end: float | None
) -> Iterator[av.VideoFrame]:
    """Decode the frames that are shown from ``start`` to before ``end``, in seconds."""
    stated = end
    if end is None and stream.duration:
        stated = float(stream.duration * stream.time_base)
    step = float(1 / _rate(stream))
    first = stream.start_time or 0
    timed = reading.format.name in _TIMED
    begin = start if reading.format.name in _SEEKABLE else 0.0
    shown = 0.0  # until when the last frame is
    count = 0
    with ExitStack() as stack:
        frames = _frames_from(reading, stream, begin, stack)
        for number, frame in enumerate(frames):
            if not timed:
                frame.pts = None
            time = number * step
            if frame.pts is not None:
                time = float((frame.pts - first) * stream.time_base)
            shown = time + step
            if time < start - _TOLERANCE:
                continue
            if end is not None and time >= end - _TOLERANCE:
                break
            if frame.is_corrupt:
                raise OSError(
                    f'damaged: FFmpeg made up parts of the frame at {time:.2f} s'
                )
            count += 1
            yield frame
        else:
            if stated is not None and shown < stated - max(0.5, 2 * step):
                raise OSError(
                    f'expected it to go on to {stated:.2f} s, found its end at '
                    f'{shown:.2f} s'
                )
    if not count:
        raise OSError(f'no frame is shown from {start:.3f} s to before {end} s')


_TOLERANCE = 1e-6  # seconds: sums of decimal fractions
# Others store no time for each frame; FFmpeg's guesses (AVI, MPEG program streams) are
# off by some frames, so these are counted.
_SEEKABLE = 'mov,mp4,m4a,3gp,3g2,mj2', 'matroska,webm', 'mpegts'
_TIMED = (*_SEEKABLE, 'asf', 'flv', 'gif')


def _frames_from(
    reading: Any, stream: Any, start: float, stack: ExitStack
) -> Iterator[av.VideoFrame]:
    """Decode from the last key frame that surely is shown before a time."""
    packets = _packets_from(reading, stream, start)
    if packets is None:
        # What was read until now may be in the decoder, or its end in the file.
        reading = stack.enter_context(av.open(reading.name, metadata_errors='replace'))
        reading.streams.video[0].thread_type = 'NONE'
        packets = reading.demux(reading.streams.video[0])
    for packet in packets:
        yield from packet.decode()


def _packets_from(reading: Any, stream: Any, start: float) -> Iterator[Any] | None:
    """Seek to a key frame; None if the video has to be read from its beginning."""
    wanted = (stream.start_time or 0) + int(start / stream.time_base)
    for margin in (0, 2, 10, 60):
        if margin >= start:
            break
        try:
            reading.seek(wanted - int(margin / stream.time_base), stream=stream)
            packets = reading.demux(stream)
            # Pictures that are shown before it may need those that were left out.
            key = next((packet for packet in packets if packet.is_keyframe), None)
        except av.FFmpegError:
            break
        if key is not None and key.pts is None:  # nor do the others say when
            break
        if key is not None and key.pts <= wanted:
            return chain([key], packets)
    return None


def _autorotate(
    frames: Iterator[av.VideoFrame], stream: Any
) -> Iterator[av.VideoFrame]:
    """Rotate frames as the file's display matrix says; the new file has none."""
    graph: Any = None
    for frame in frames:
        quarters = round(frame.rotation / 90) % 4  # counterclockwise
        if quarters:
            if graph is None:
                graph = av.filter.Graph()
                graph.link_nodes(
                    graph.add_buffer(template=stream),
                    *(graph.add(*args) for args in _ROTATIONS[quarters]),
                    graph.add('buffersink'),
                ).configure()
            graph.vpush(frame)
            frame = graph.vpull()
        yield frame


# FFmpeg's filters for that many quarter turns counterclockwise.
_ROTATIONS: dict[int, list[tuple[str, ...]]] = {
    1: [('transpose', 'cclock')],
    2: [('hflip',), ('vflip',)],
    3: [('transpose', 'clock')],
}


def _rate(stream: Any) -> Fraction:
    """Frames per second."""
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
