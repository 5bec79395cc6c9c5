"""Look for damaged videos before a run does."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ...utils.fileio import AtomicLocalBackend
from ...video.error import VideoError
from ...video.reader import VideoReader
from .worker_pool import run_in_processes


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
    for name, value in (('workers', workers), ('time_limit', time_limit)):
        if value < 1:
            raise ValueError(f'{name}: expected at least 1, got {value}')
    files = list(dict.fromkeys(files))
    known = _read_progress(progress)
    stamps = {file: _stamp(file) for file in files}
    found = {f: known[f][1] for f in files if f in known and known[f][0] == stamps[f]}
    todo = {Path(file): file for file in files if file not in found}
    with open(progress, 'a', encoding='utf-8') as log:
        log.write('\n')  # the last line of a killed run has no end

        def record(name: Path, answer: str | None) -> None:
            kind, _, detail = (answer or '\t').partition('\t')
            if answer and not detail:  # of the pool
                kind, detail = 'decoder', answer
            file = todo[name]
            found[file] = kind, detail
            log.write(json.dumps([file, stamps[file], kind, detail]) + '\n')
            log.flush()

        work = partial(_check_file, time_limit)
        if todo:
            run_in_processes(work, list(todo), workers, OSError, time_limit, record)
    return [Problem(file, *found[file]) for file in files if found[file][0]]


def write_table(problems: Sequence[Problem], path: str | Path) -> None:
    """Write path, kind and detail of bad videos, separated by tabs."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter='\t', lineterminator='\n')
    writer.writerows([Problem._fields, *problems])
    content = text.getvalue().encode('utf-8', errors='surrogateescape')
    AtomicLocalBackend().put(content, path)


def _check_file(time_limit: float, path: Path) -> str | Exception | None:
    """Give kind and detail with a tab between, or what is no video's fault."""
    try:
        VideoReader(str(path), time_limit=time_limit).check()
    except VideoError as error:
        text = str(error).removeprefix(f'{path}: ').removeprefix(f'{error.kind}: ')
        return f'{error.kind}\t{text}'
    except OSError as error:
        return error
    except Exception as error:  # whatever it is, the other videos go on
        return f'unreadable\t{type(error).__name__}: {error}'
    return None


def _stamp(file: str) -> list[int] | None:
    with suppress(OSError, ValueError):
        found = os.stat(file)
        return [found.st_size, found.st_mtime_ns]
    return None


def _read_progress(
    path: str | Path,
) -> dict[str, tuple[list[int] | None, tuple[str, str]]]:
    """Read what an earlier run found; whatever is not whole counts as not done."""
    known = {}
    with suppress(FileNotFoundError), open(path, encoding='utf-8') as file:
        for line in file:
            with suppress(ValueError):
                name, stamp, kind, detail = json.loads(line)
                if stamp is not None:  # a missing file may have come back
                    known[name] = stamp, (kind, detail)
    return known
