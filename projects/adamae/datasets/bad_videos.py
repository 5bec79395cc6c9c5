"""The list of the bad videos of a run, in its work folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..utils.fileio import atomic_path

# A name with a line break would be two lines.
_ESCAPES = str.maketrans({'\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r'})
_UNESCAPED = dict(t='\t', n='\n', r='\r')
_MISSING = 'missing'
_IN_PART = ' in part'


class BadVideo(NamedTuple):
    """A video that could not be read.

    Attributes:
        name (str): file or folder.
        reason (str): one line.
        state (str): size in bytes and time of change in nanoseconds when it failed, or
            'missing'; ends in 'in part' if other frames of it may be readable.
    """

    name: str
    reason: str
    state: str

    @classmethod
    def of(cls, name: str, reason: str, in_part: bool) -> BadVideo:
        """Describe a video as it is now."""
        reason = ' '.join(reason.removeprefix(f'{name}: ').split())
        return cls(name, reason, file_state(name) + _IN_PART * in_part)

    @property
    def in_part(self) -> bool:
        """Whether other frames of it may be readable."""
        return self.state.endswith(_IN_PART)

    def has_changed(self) -> bool:
        """Whether the video is another one by now: it may have been repaired."""
        return file_state(self.name) != self.state.removesuffix(_IN_PART)

    def __str__(self) -> str:
        return f'{self.name}: {self.reason}'


def file_state(name: str) -> str:
    """Give size and time of change of a file, or of its ``.mp4``; or 'missing'."""
    for path in (name, f'{name}.mp4'):
        try:
            stat = os.stat(path)
        except (OSError, ValueError):
            continue
        return f'{stat.st_size} {stat.st_mtime_ns}'
    return _MISSING


def read_bad_videos(path: str | Path) -> list[BadVideo]:
    """Read a list; none if there is no file.

    Args:
        path (str | Path): a file of :func:`append_bad_videos`. What is no such line is
            left out, as the last one of a killed run may be.

    Returns:
        list[BadVideo]: one per name.
    """
    try:
        text = Path(path).read_text('utf-8', 'surrogateescape')
    except FileNotFoundError:
        return []
    parts = [line.split('\t') for line in text.split('\n')]
    videos = [BadVideo(*map(_unescape, part)) for part in parts if len(part) == 3]
    return [*{video.name: video for video in videos}.values()]


def write_bad_videos(path: str | Path, videos: Iterable[BadVideo]) -> None:
    """Write a whole list, or remove the file of an empty one."""
    lines = [_line(video) for video in videos]
    if not lines:
        Path(path).unlink(missing_ok=True)
        return
    with atomic_path(path) as partial:
        partial.write_bytes(b''.join(lines))


def append_bad_videos(path: str | Path, videos: Iterable[BadVideo]) -> None:
    """Append one line per video: name, reason and state, with tabs between."""
    with open(path, 'ab', buffering=0) as file:
        file.write(b''.join(map(_line, videos)))


def _unescape(text: str) -> str:
    return re.sub(r'\\(.)', lambda m: _UNESCAPED.get(m[1], m[1]), text)


def _line(video: BadVideo) -> bytes:
    text = '\t'.join(part.translate(_ESCAPES) for part in video)
    return f'{text}\n'.encode('utf-8', 'surrogateescape')
