"""Long videos: their segments become short files, which train as any others.

Reading a clip out of a film of hours is slow, a list of MMAction2 cannot name a part of
a file, and a split must not have one part of a film in training and another in tests.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import av

from ...utils.text import read_utf8
from ...video.error import PYAV_ERRORS
from ...video.folder import VIDEO_SUFFIXES
from .collection import Collection, Sample
from .official import Annotations, as_paths, some, video_names
from .transcode import (
    TargetError,
    TranscodeSpec,
    locked_target,
    problem_of,
    reject_links,
    transcode_file,
)
from .worker_pool import run_in_processes

_TIME = r'(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d*)?|\.\d+)'
_COLUMNS = {
    'path': ('path', 'video', 'file', 'filename', 'name'),
    'start': ('start', 'time_start', 'begin'),
    'end': ('end', 'time_end', 'stop'),
    'label': ('label', 'class'),
}
_FORM = 'PATH START END [LABEL], times in seconds or HH:MM:SS'


class _Line(NamedTuple):
    path: str
    start: float
    end: float
    label: str | None
    where: str


def read(
    videos: str | Path,
    annotations: Annotations = (),
    length: float | None = None,
) -> Collection:
    """Read which segments of long videos there are; :func:`cut` writes them.

    Args:
        videos (str | Path): folder of the long videos.
        annotations (Annotations): tables ``PATH START END [LABEL]``, separated
            by commas, tabs or blanks, with or without a header; times from the first
            frame, in seconds or ``[HH:]MM:SS``. Defaults to none.
        length (float, optional): in place of a table, cut every video into segments of
            so many seconds. What remains at the end is a segment of its own if it is at
            least half as long, else a part of the last one. Defaults to None.

    Returns:
        Collection: samples name the long videos and have ``start`` and ``end``; their
        ``group`` is the video, so that all segments of it share a split. Classes are in
        alphabetical order.

    Raises:
        FileNotFoundError: if a table or every video of it is missing.
        ValueError: if a line is of another form, or lines contradict each other.
    """
    root, tables = str(videos), as_paths(annotations)
    names = video_names(root)
    if (length is None) == (not tables):
        raise ValueError(
            'expected segments from --labels, a table of them, or of one --length, got '
            + ('neither' if length is None else 'both')
        )
    if length is not None:
        if not 0.1 <= length < math.inf:
            raise ValueError(f'--length: expected 0.1 seconds or more, got {length}')
        return _equal_segments(root, names, length)
    found = Collection(root, [])
    seen: dict[tuple[str, float, float], _Line] = {}
    used = set()
    for line in _lines(tables):
        before = seen.setdefault(line[:3], line)
        if before is not line:
            if before.label != line.label:
                raise ValueError(
                    f'{line.where}: expected one label for the segment, got '
                    f'{line.label!r}, and {before.label!r} in {before.where}; remove '
                    'one of the two'
                )
            found.repeated.append(f'{line.path} {line.start:g} {line.end:g}')
            continue
        name = _find(line, names, root)
        if name is None:
            found.missing.append(line.path)
            continue
        used.add(name)
        sample = Sample(name, line.label, None, name, line.start, line.end)
        found.samples.append(sample)
    found.missing = list(dict.fromkeys(found.missing))
    if not found.samples:
        raise FileNotFoundError(
            f'--videos: expected the videos of {some(map(str, tables))}, such as '
            f'{some(found.missing, 1) or "none: it has no line"}, found none of them '
            f'in {root}, which has {some(names)}'
        )
    found.classes = sorted({s.label for s in found.samples if s.label is not None})
    found.unlisted = [name for name in names if name not in used]
    return found


def cut(
    collection: Collection,
    out: str | Path,
    spec: TranscodeSpec | None = None,
    workers: int = 1,
) -> Collection:
    """Cut the segments of :func:`read` into files, exactly to the frame.

    Each becomes an H.264 file in MP4 without sound, as :func:`.transcode_folder` makes
    them: the frames that are shown from its start to before its end. It appears under
    its name when it is complete; started again, this goes on where it stopped.

    Args:
        collection (Collection): of :func:`read`.
        out (str | Path): folder for ``videos/FILM/START-END.mp4``.
        spec (TranscodeSpec, optional): what the files are like. Defaults to None, its
            defaults: a short side of 256.
        workers (int): processes. Defaults to 1.

    Returns:
        Collection: of the files, below ``OUT/videos``. Segments that cannot be cut are
        missing, with the reason; files of another table are unlisted.

    Raises:
        FileExistsError: if the folder was made with another ``spec`` or not by this
            function, or another run is writing into it.
        TargetError: if it cannot be written, or a link in it leads elsewhere.
        OSError: if no segment can be cut.
        ValueError: if two films would have one name, ``workers`` is less than 1, or one
            of the folders lies in the other.
    """
    spec = spec or TranscodeSpec()
    source, target = Path(collection.root), Path(out) / 'videos'
    here, there = source.resolve(), target.resolve()
    if there.is_relative_to(here):
        raise ValueError(
            f'--out: expected a folder outside of {here}, got {there}: its segments '
            'would be taken for long videos'
        )
    if workers < 1:
        raise ValueError(f'workers: expected at least 1, got {workers}')
    films: dict[str, str] = {}
    samples = {}
    for sample in collection.samples:
        film = os.path.splitext(sample.name)[0]
        other = films.setdefault(film, sample.name)
        if other != sample.name:
            raise ValueError(
                f'expected one video for the folder {target / film}, got {other} and '
                f'{sample.name}; rename one'
            )
        end = 'end' if sample.end is None else f'{sample.end:010.3f}'
        path = Path(film, f'{sample.start or 0:010.3f}-{end}.mp4')
        if path in samples:
            raise ValueError(
                f'expected segments that differ by a millisecond, got two for {path}'
            )
        samples[path] = sample
    reject_links(target, samples)
    with locked_target(target, spec):
        todo = [path for path in samples if not (target / path).exists()]
        work = partial(_cut_one, source, target, spec, samples)
        errors = run_in_processes(work, todo, 'cutting segments', workers, TargetError)
    done = Collection(str(target), [], collection.classes, list(collection.missing))
    done.unlisted = list(collection.unlisted)
    done.repeated = list(collection.repeated)
    for path, sample in samples.items():
        error = errors.get(path)
        if error is None:
            name = path.as_posix()
            done.samples.append(Sample(name, sample.label, sample.split, sample.group))
        else:
            done.missing.append(f'{sample.name} ({path.stem} s): {error}')
    if not done.samples:
        raise OSError(f'no segment can be cut: {done.missing[-1]}')
    there_now = {
        path.relative_to(target)
        for path in target.rglob('*')
        if path.suffix.lower() in VIDEO_SUFFIXES
    }
    done.unlisted += sorted(p.as_posix() for p in there_now - samples.keys())
    return done


def _cut_one(
    source: Path,
    target: Path,
    spec: TranscodeSpec,
    samples: Mapping[Path, Sample],
    path: Path,
) -> str | TargetError | None:
    sample = samples[path]
    film, start = source / sample.name, sample.start or 0.0
    return problem_of(
        lambda: transcode_file(film, target / path, spec, start=start, end=sample.end)
    )


def _equal_segments(root: str, names: Mapping[str, str], length: float) -> Collection:
    found = Collection(root, [])
    for name, file in names.items():
        try:
            seconds = _duration(file)
        except (*PYAV_ERRORS, OSError) as error:
            reason = getattr(error, 'strerror', None) or str(error)
            found.missing.append(f'{name}: {reason}')
            continue
        # Half a segment or more that remains is one of its own.
        count = max(1, math.floor(seconds / length + 0.5 + 1e-6))
        for i in range(count):
            end = (i + 1) * length if i + 1 < count else None
            found.samples.append(Sample(name, None, None, name, i * length, end))
    if not found.samples:
        raise FileNotFoundError(
            f'--videos: expected videos in {root}, can read none: {found.missing[0]}'
        )
    return found


def _duration(file: str) -> float:
    """Give the seconds that a video lasts: as it states, or by reading it."""
    with av.open(f'file:{file}', metadata_errors='replace') as container:
        if not container.streams.video:
            raise OSError('no video stream')
        stream = container.streams.video[0]
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        if container.duration:
            return container.duration / av.time_base
        base = float(stream.time_base or 0)
        times = [p.pts * base for p in container.demux(stream) if p.pts is not None]
        if not times:
            raise OSError('it does not state how long it is')
        return max(times) - min(times)


def _find(line: _Line, names: Mapping[str, str], root: str) -> str | None:
    """Give the video below the folder that a line names."""
    path = line.path
    if os.path.isabs(path):
        path = os.path.relpath(path, os.path.abspath(root))
    name = Path(os.path.normpath(path)).as_posix()
    if name.split('/')[0] == '..':
        raise ValueError(
            f'{line.where}: expected a video below {root}, got {line.path!r}; name the '
            'folder that holds them all with --videos'
        )
    if name in names:
        return name
    alike = [n for n in names if os.path.splitext(n)[0] == name]
    return alike[0] if len(alike) == 1 else None


def _lines(tables: Sequence[Path]) -> Iterator[_Line]:
    for file in tables:
        try:
            text = read_utf8(file)
        except OSError as error:
            raise FileNotFoundError(
                f'--labels: expected a table of segments, got {file}: {error.strerror}'
            ) from None
        order: list[str] | None = None
        for number, fields in _fields(text):
            where = f'{file}: line {number}'
            if order is None:
                order, is_header = _header(fields, where)
                if is_header:
                    continue
            entry = dict(zip(order, fields, strict=False))
            start, end = (_seconds(entry.get(key, '')) for key in ('start', 'end'))
            path = entry.get('path', '')
            if not path or start is None or end is None or not start < end:
                raise ValueError(
                    f'{where}: expected {_FORM}, the end after the start, got {fields}'
                )
            yield _Line(path, start, end, entry.get('label') or None, where)


def _fields(text: str) -> Iterator[tuple[int, list[str]]]:
    """Split lines at tabs, commas or blanks, whichever the first line has."""
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), '')
    delimiter = next((d for d in '\t,;' if d in first), None)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if delimiter:
            try:
                row = next(csv.reader([line], delimiter=delimiter))
            except csv.Error:  # a field is too long; it has no times either
                row = [line[:80]]
            yield number, [field.strip() for field in row]
            continue
        # Blanks may be a part of a path or a label, but not of times.
        match = re.fullmatch(
            rf'(.+?)\s+({_TIME})\s+({_TIME})(?:\s+(.+))?', line.strip()
        )
        groups = match and (match[1], match[2], match[6], match[10])
        yield number, [g for g in groups if g] if groups else line.split()


def _header(fields: list[str], where: str) -> tuple[list[str], bool]:
    """Give the order of the columns, and whether the first line states it."""
    if len(fields) > 2 and _seconds(fields[1]) is not None:
        return list(_COLUMNS), False
    order = [
        next((key for key, names in _COLUMNS.items() if f.lower() in names), f)
        for f in fields
    ]
    if not {'path', 'start', 'end'} <= set(order):
        raise ValueError(
            f'{where}: expected {_FORM}, or a header with path, start and end, got '
            f'{fields}'
        )
    return order, True


def _seconds(text: str) -> float | None:
    match = re.fullmatch(_TIME, text)
    if match is None:
        return None
    hours, minutes, seconds = (float(group or 0) for group in match.groups())
    return hours * 3600 + minutes * 60 + seconds
