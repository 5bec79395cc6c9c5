"""Processes that run in turn, so that what is compared sees the same machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, NamedTuple
from unittest import mock

import torch

from projects.adamae.launch.measuring import peak_resident
from projects.adamae.utils.cpu import KEEP_FREED_MEMORY

MALLOC = {'tuned': KEEP_FREED_MEMORY, 'default': {}}


class Worker:
    """A process that answers requests, and sleeps while others work.

    Args:
        serve (Callable): a function of a module, called there with a connection and
            ``kwargs``. It answers everything it receives, and ends with ``EOFError``.
        malloc (str): key of ``MALLOC``; glibc reads it when a process starts.
        threads (int, optional): of PyTorch. Defaults to PyTorch's choice.
        **kwargs: arguments of ``serve``.
    """

    def __init__(
        self,
        serve: Callable[..., None],
        malloc: str = 'default',
        threads: int | None = None,
        **kwargs: Any,
    ) -> None:
        context = get_context('spawn')
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_main, args=(serve, theirs, threads, kwargs), daemon=True
        )
        with mock.patch.dict(os.environ):
            for key in KEEP_FREED_MEMORY:
                os.environ.pop(key, None)
            os.environ.update(MALLOC[malloc])
            self._process.start()
        theirs.close()

    def request(self, command: str) -> Any:
        """Send a command and wait for its answer.

        Raises:
            RuntimeError: if the process has failed; its traceback is on stderr.
        """
        try:
            self._connection.send(command)
            return self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            raise RuntimeError(
                f'a benchmark process ended with code {self._process.exitcode} '
                f'at {command!r}; its error is above'
            ) from error

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join()


def _main(
    serve: Callable[..., None],
    connection: Connection,
    threads: int | None,
    kwargs: dict[str, Any],
) -> None:
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        serve(connection, **kwargs)
    except (EOFError, ConnectionError):
        pass  # no more requests


def interleave(
    workers: Mapping[str, Worker], rounds: int, command: str = 'step', warm_up: int = 1
) -> dict[str, list[float]]:
    """Send a command to every worker in turn, so that a busy minute meets them all.

    Returns:
        dict[str, list[float]]: the answers of all rounds after the warm-up, by name.
    """
    answers: dict[str, list[float]] = {name: [] for name in workers}
    for number in range(warm_up + rounds):
        for name, worker in workers.items():
            answer = worker.request(command)
            if number >= warm_up:
                answers[name].append(answer)
    return answers


class Summary(NamedTuple):
    """Repeated measurements of one thing."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f'{self.median:.3g} ({self.low:.3g} to {self.high:.3g})'


def summarize(values: Sequence[float]) -> Summary:
    """Give the median and the spread."""
    return Summary(median(values), min(values), max(values))


def ratio(values: Sequence[float], others: Sequence[float]) -> Summary:
    """Summarize ``values / others``, round by round."""
    return summarize([a / b for a, b in zip(values, others, strict=True)])


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Measure the seconds of a piece of work; a GPU is waited for."""

    def now() -> float:
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        return time.perf_counter()

    start = now()
    work()
    return now() - start


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Measure FLOP/s of one large matrix product; a multiply-add is two."""
    size = 2048 if device.type == 'cpu' else 8192
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    torch.mm(a, b)
    return 2 * size**3 / timed(lambda: torch.mm(a, b), device)


def peak_memory(device: torch.device) -> int:
    """Give the most bytes this process has held, of the GPU or resident."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    return peak_resident()
