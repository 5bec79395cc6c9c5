"""Look for damaged videos before a run does."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ...utils.fileio import AtomicLocalBackend
from ...video.error import VideoError
from ...video.reader import VideoReader
from .resumable import run_resumably


class Problem(NamedTuple):
    """What is wrong with a video.

    Args:
        path (str): of the file.
        kind (str): as of :class:`VideoError`, or 'decoder' if the process that decoded
            it died or did not come to an end.
        detail (str): what was expected and found.
    """

    path: str
    kind: str
    detail: str


def check_videos(
    files: Sequence[str],
    progress: str | Path,
    workers: int = 1,
    time_limit: float = 600,
) -> list[Problem]:
    """Decode every frame of videos, each in a process that may die.

    Args:
        files (Sequence[str]): paths.
        progress (str | Path): file that remembers what was found; a file with the same
            size and time of change is not decoded again.
        workers (int): processes. Defaults to 1.
        time_limit (float): seconds for one video. Defaults to 600.

    Returns:
        list[Problem]: of the bad ones, in the order of ``files``.

    Raises:
        OSError: if something cannot be read or written and no video is to blame.
        ValueError: if ``workers`` or ``time_limit`` is too small.
    """
    answers = run_resumably(
        *(partial(_check_file, time_limit), files, 'checking videos'),
        *(progress, workers, time_limit),
    )
    return [problem_of(file, answer) for file, answer in answers.items() if answer]


def problem_of(file: str, answer: str) -> Problem:
    """Read what :func:`try_video` gave of a bad one, or the pool of processes."""
    kind, _, detail = answer.partition('\t')
    return Problem(file, kind, detail) if detail else Problem(file, 'decoder', answer)


def write_table(problems: Sequence[Problem], path: str | Path) -> None:
    """Write path, kind and detail of bad videos, separated by tabs."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter='\t', lineterminator='\n')
    writer.writerows([Problem._fields, *problems])
    content = text.getvalue().encode('utf-8', errors='surrogateescape')
    AtomicLocalBackend().put(content, path)


def _check_file(time_limit: float, path: Path) -> str | Exception | None:
    def check() -> None:
        VideoReader(str(path), time_limit=time_limit).check()

    return try_video(path, check)


def try_video(path: Path, look: Callable[[], str | None]) -> str | Exception | None:
    """Look at a video, whatever is in it.

    Args:
        path (Path): of the video.
        look (Callable): looks at it.

    Returns:
        str | Exception | None: what ``look`` gave; or kind and detail of what is wrong
        with the video, a tab between; or what is no video's fault.
    """
    try:
        return look()
    except VideoError as error:
        text = str(error).removeprefix(f'{path}: ').removeprefix(f'{error.kind}: ')
        return f'{error.kind}\t{text}'
    except OSError as error:
        return error
    except Exception as error:  # whatever it is, the other videos go on
        return f'unreadable\t{type(error).__name__}: {error}'
