"""What is in a collection of videos, file by file."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...video.reader import VideoReader
from .check import problem_of, try_video
from .duplicates import NUM_PICTURES, SIDE
from .resumable import run_resumably

#: Of what is remembered of a video; raise it when that changes.
_VERSION = 1
# Pictures are this many times larger while something is looked for that moves: small
# enough that noise averages out, and large enough that a ball does not.
_FINE = 5
# Gray levels: below the first nothing moves, below the second all is black.
_STATIC, _BLACK = 5, 16
# Times between frames: as in Matroska, rounded to milliseconds; and what share of them
# must be others for the rate to vary.
_ROUNDED, _OTHER, _VARIABLE = 0.0011, 0.25, 0.01


class Facts(NamedTuple):
    """What a video is.

    Attributes:
        frames (int): number of frames that a player shows.
        seconds (float): how long they are shown.
        fps (float): average frames per second.
        variable (bool): whether the times between frames differ.
        size (tuple[int, int]): width and height in pixels, as a player shows them.
        codec (str): FFmpeg's name.
        container (str): FFmpeg's name.
        static (bool): whether nothing moves.
        black (bool): whether all is black.
        pictures (str): what :func:`.find_duplicates` compares, in base 64.
    """

    frames: int
    seconds: float
    fps: float
    variable: bool
    size: tuple[int, int]
    codec: str
    container: str
    static: bool
    black: bool
    pictures: str

    def decode_pictures(self) -> np.ndarray:
        """Give uint8, shape (``NUM_PICTURES``, ``SIDE``, ``SIDE``)."""
        values = np.frombuffer(base64.b64decode(self.pictures), np.uint8)
        return values.reshape(NUM_PICTURES, SIDE, SIDE)


def survey_videos(
    files: Sequence[str],
    progress: str | Path | None = None,
    workers: int = 1,
    check_all: bool = False,
    time_limit: float = 600,
    remember: bool = True,
) -> tuple[dict[str, Facts], dict[str, tuple[str, str]]]:
    """Look at videos, each in a process that may die.

    Args:
        files (Sequence[str]): paths.
        progress (str | Path, optional): file that remembers what was found, see
            :func:`.run_resumably`. Defaults to none.
        workers (int): processes. Defaults to 1.
        check_all (bool): decode every frame. Defaults to False: all packets are read,
            and a few frames decoded from those that they depend on.
        time_limit (float): seconds for one video. Defaults to 600.
        remember (bool): write to ``progress``. Defaults to True.

    Returns:
        tuple[dict, dict]: path to :class:`Facts` of what can be read; path to kind and
        detail, as in :class:`.Problem`, of what cannot.

    Raises:
        OSError: if something cannot be read or written and no video is to blame.
        ValueError: if ``workers`` or ``time_limit`` is too small.
    """
    work = partial(_look_at, check_all, time_limit)
    mode = _mode(check_all)

    def accept(answer: str) -> bool:
        if answer.startswith('{'):
            return json.loads(answer)['mode'] in (mode, _mode(True))
        # A problem that a quick look has found is one. A process that died or was late
        # may have had too little memory or time.
        return '\t' in answer

    answers = run_resumably(
        *(work, files, 'looking at videos', progress),
        *(workers, time_limit, accept, remember),
    )
    facts, problems = {}, {}
    for file, answer in answers.items():
        if answer.startswith('{'):
            values = json.loads(answer)
            del values['mode']
            facts[file] = Facts(**{**values, 'size': tuple(values['size'])})
        else:
            problems[file] = problem_of(file, answer)[1:]
    return facts, problems


def _mode(check_all: bool) -> list[Any]:
    return [_VERSION, 'all' if check_all else 'quick']


def _look_at(check_all: bool, time_limit: float, path: Path) -> str | Exception | None:
    def look() -> str:
        # It may take as long as in a dataset; all of it may take longer.
        reader = VideoReader(str(path))
        if check_all:
            reader.time_limit = time_limit
            reader.check()
        facts = _facts(reader)._asdict()
        return json.dumps({'mode': _mode(check_all), **facts})

    return try_video(path, look)


def _facts(reader: VideoReader) -> Facts:
    count = len(reader)
    numbers = [int((i + 0.5) / NUM_PICTURES * count) for i in range(NUM_PICTURES)]
    height, width, pictures = _gray_pictures(reader, numbers)
    brightest = float(pictures.max())
    change = np.ptp(pictures, axis=0).max()
    small = pictures.reshape(NUM_PICTURES, SIDE, _FINE, SIDE, _FINE).mean((2, 4))
    fps, variable = _rate(reader)
    is_black = brightest < _BLACK
    return Facts(
        frames=count,
        seconds=round(count / fps, 3) if fps else 0.0,
        fps=round(fps, 3),
        variable=variable,
        size=(width, height),
        codec=reader.codec,
        container=reader.container,
        static=bool(change < _STATIC and not is_black),
        black=is_black,
        pictures=base64.b64encode(small.round().astype(np.uint8).tobytes()).decode(),
    )


def _gray_pictures(
    reader: VideoReader, numbers: list[int]
) -> tuple[int, int, np.ndarray]:
    """Decode frames; gives height, width, float32 (frames, SIDE * _FINE, the same)."""
    side = SIDE * _FINE
    height, width, pictures = reader.get_thumbnails(numbers, side)
    return height, width, np.stack(pictures).mean(-1, dtype=np.float32)


def _rate(reader: VideoReader) -> tuple[float, bool]:
    """Give average frames per second (0: not known), and whether the rate varies."""
    times = np.array(reader.packet_times)
    steps = np.diff(times)
    if not len(steps) or steps.min() < 0 or times[-1] <= times[0]:
        return reader.fps, False
    usual = float(np.median(steps))
    others = np.abs(steps - usual) > _OTHER * usual + _ROUNDED
    is_variable = bool(others.mean() > _VARIABLE)
    average = len(steps) / (times[-1] - times[0])
    # What a header states is not rounded.
    if reader.fps and not is_variable and abs(reader.fps / average - 1) < 0.02:
        return reader.fps, False
    return float(average), is_variable
