"""Processes that share work on files, and may be killed by one of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection
from pathlib import Path
from typing import Any, TypeAlias

from ...utils.progress import Progress

Work: TypeAlias = Callable[[Path], str | Exception | None]


def run_in_processes(
    work: Work,
    names: list[Path],
    title: str,
    workers: int,
    fatal: type[Exception],
    time_limit: float | None = None,
    done: Callable[[Path, str | None], None] | None = None,
) -> dict[Path, str | None]:
    """Do something with every file, in processes that may die.

    Args:
        work (Callable): takes a name; gives None, what is wrong with that file, or an
            error of type ``fatal``. Pickled where processes are not forked.
        names (list[Path]): of the files.
        title (str): what is done, for the bar that shows how far it has come.
        workers (int): processes at a time, at least 1.
        fatal (type[Exception]): what ends the run.
        time_limit (float, optional): seconds for one file; then its process is killed.
            Defaults to None, any time.
        done (Callable, optional): called with each name and what is wrong with it.

    Returns:
        dict[Path, str | None]: what ``work`` gave for each, or that its process died
        or was late.

    Raises:
        Exception: of type ``fatal``, if ``work`` gave one.
    """
    # A pool of multiprocessing waits for ever for a process that was killed, and that
    # of concurrent.futures for work it was given just then; neither tells which file.
    errors: dict[Path, str | None] = {}
    waiting = deque(names)
    # Connection: process, name and when it began.
    busy: dict[Any, tuple[Any, Path, float]] = {}
    late = set()
    limit = float('inf') if time_limit is None else time_limit
    with Progress(title, len(names)) as progress, _killing(busy):
        while waiting or busy:
            while waiting and len(busy) < workers:
                ours, theirs = multiprocessing.Pipe()
                process = multiprocessing.Process(target=_serve, args=(work, theirs))
                process.start()
                theirs.close()  # or its end would go unnoticed
                busy[ours] = process, waiting.popleft(), time.monotonic()
                _send(ours, busy[ours][1])
            ready: Any
            for ready in connection.wait(list(busy), time_limit and 1):
                process, name, _ = busy[ready]
                try:
                    answer: Any = ready.recv()
                except (EOFError, OSError):
                    answer = 'the process that read it was killed (out of memory?)'
                    if ready in late:
                        answer = f'not done after {time_limit} s'
                    del busy[ready]
                    process.join()
                else:
                    if isinstance(answer, fatal):
                        raise answer
                    if waiting:
                        busy[ready] = process, waiting.popleft(), time.monotonic()
                        _send(ready, busy[ready][1])
                    else:
                        del busy[ready]
                        _send(ready, None)
                        process.join()
                errors[name] = answer
                if done is not None:
                    done(name, answer)
                progress.advance()
            for ready, (process, _, began) in busy.items():
                if time.monotonic() - began > limit:
                    late.add(ready)
                    process.kill()  # the connection will say so
    return errors


@contextmanager
def _killing(busy: dict[Any, tuple[Any, Path, float]]) -> Iterator[None]:
    """Kill the processes that are left at the end: none, unless it comes early."""
    try:
        yield
    finally:
        for process, _, _ in busy.values():
            process.kill()
            process.join()


def _send(ours: Any, name: Path | None) -> None:
    """Give a process its next work; that it died is found when it should answer."""
    with suppress(OSError):
        ours.send(name)


def _serve(work: Work, theirs: Any) -> None:
    """Work for a parent process; ends when that says so or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent sees to it
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    while (name := theirs.recv()) is not None:
        theirs.send(work(name))
