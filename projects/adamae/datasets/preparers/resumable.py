"""Work on files that goes on where an earlier run of it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

from .worker_pool import Work, run_in_processes


def run_resumably(
    work: Work,
    files: Sequence[str],
    title: str,
    progress: str | Path | None,
    workers: int = 1,
    time_limit: float = 600,
    accept: Callable[[str], bool] = lambda answer: True,
    remember: bool = True,
) -> dict[str, str]:
    """Do something with every file, in processes that may die, once.

    Args:
        work (Callable): see :func:`.run_in_processes`; errors of type OSError end it.
        files (Sequence[str]): paths.
        title (str): what is done, for the bar that shows how far it has come.
        progress (str | Path, optional): file that remembers the answers; a file with
            the same size and time of change is not worked on again. Defaults to none.
        workers (int): processes. Defaults to 1.
        time_limit (float): seconds for one file. Defaults to 600.
        accept (Callable): tells which answers of earlier runs are good enough.
            Defaults to all.
        remember (bool): add to ``progress``. Defaults to True.

    Returns:
        dict[str, str]: what ``work`` gave for each, '' for None, in their order.

    Raises:
        OSError: if something cannot be read or written and no file is to blame.
        ValueError: if ``workers`` or ``time_limit`` is too small.
    """
    for name, value in (('workers', workers), ('time_limit', time_limit)):
        if value < 1:
            raise ValueError(f'{name}: expected at least 1, got {value}')
    files = list(dict.fromkeys(files))
    known = _read_progress(progress) if progress else {}
    stamps = {file: _stamp(file) for file in files}
    found = {
        file: known[file][1]
        for file in files
        if file in known and known[file][0] == stamps[file] and accept(known[file][1])
    }
    todo = {Path(file): file for file in files if file not in found}
    if todo:
        write = remember and progress
        with open(write, 'a', encoding='utf-8') if write else nullcontext() as log:
            if log:
                log.write('\n')  # the last line of a killed run has no end

            def record(name: Path, answer: str | None) -> None:
                file = todo[name]
                found[file] = answer or ''
                if log:
                    line = [file, stamps[file], found[file]]
                    log.write(json.dumps(line) + '\n')
                    log.flush()

            names = list(todo)
            run_in_processes(work, names, title, workers, OSError, time_limit, record)
    return {file: found[file] for file in files}


def _stamp(file: str) -> list[int] | None:
    with suppress(OSError, ValueError):
        found = os.stat(file)
        return [found.st_size, found.st_mtime_ns]
    return None


def _read_progress(path: str | Path) -> dict[str, tuple[list[int], str]]:
    """Read what an earlier run found; whatever is not whole counts as not done."""
    known = {}
    with suppress(FileNotFoundError), open(path, encoding='utf-8') as file:
        for line in file:
            with suppress(ValueError, TypeError):
                # Earlier versions wrote kind and detail apart.
                name, stamp, *answer = json.loads(line)
                if stamp is not None:  # a missing file may have come back
                    known[name] = stamp, '\t'.join(answer).strip('\t')
    return known
