"""Logs on a disk that is full or broken: a run goes on without them."""

import atexit
import errno
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from mmengine.evaluator import DumpResults
from mmengine.runner import Runner

from ..evaluation import ClassificationReport
from .distributed import warn

# Logs of this process that cannot be written; several handlers share its output.
_TOLD: set[str] = set()


def tell_once(handler: logging.Handler) -> None:
    """Let a handler say once that it cannot write; Python would print every record.

    Args:
        handler (logging.Handler): of a log file or the terminal.
    """

    def handle_error(record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        name = getattr(handler, 'baseFilename', 'the output of this process')
        if not isinstance(error, OSError):
            logging.Handler.handleError(handler, record)
        elif name not in _TOLD:
            _TOLD.add(name)
            if not isinstance(handler, logging.FileHandler):
                atexit.register(_drop_output)
            _print_warning(f'{name}: {error.strerror}; lines of the log are lost')

    handler.handleError = handle_error  # type: ignore[method-assign]


def tolerate_full_disk(runner: Runner) -> None:
    """Let a run go on when its curves cannot be written, with one warning.

    A full disk or a broken mount may be well again at the next checkpoint, which is
    what counts. A work folder that is gone ends the run.

    Args:
        runner (Runner): of a run; its visualizer is changed in place.
    """
    for backend in runner.visualizer._vis_backends.values():
        told: list[OSError] = []
        for name in dir(backend):
            if name.startswith('add_') or name == 'close':
                method = getattr(backend, name)
                setattr(backend, name, _tolerant(method, runner.work_dir, told))
    # TensorBoard raises the error of its thread again where scalars are added.
    threading.excepthook = _without_full_disk(threading.excepthook)


@contextmanager
def metrics_before_dump(runner: Runner, report: str | None = None) -> Iterator[None]:
    """Let a test end with its metrics, also where predictions cannot be written.

    Args:
        runner (Runner): of a test, within this context.
        report (str, optional): folder that was asked for. Defaults to None: the test
            succeeds without its report.

    Raises:
        OSError: of the predictions, in the end.
    """
    errors: list[OSError] = []

    def hold_back(option: str, compute: Callable[..., dict]) -> Callable[..., dict]:
        def call(results: list) -> dict:
            try:
                return compute(results)
            except OSError as error:
                warn(f'{option}: {error}')
                if option == '--dump' or report:
                    errors.append(error)
                return {}

        return call

    writers = {DumpResults: '--dump', ClassificationReport: '--report'}
    for metric in runner.test_loop.evaluator.metrics:
        for kind, option in writers.items():
            if isinstance(metric, kind):
                metric.compute_metrics = hold_back(option, metric.compute_metrics)
    yield
    if errors:
        raise errors[0]


def _tolerant(
    method: Callable[..., Any], work_dir: str, told: list[OSError]
) -> Callable[..., Any]:
    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except OSError as error:
            is_gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
            if is_gone and not os.path.isdir(work_dir):
                text = 'the work folder is gone'
                raise OSError(errno.ENODEV, text, work_dir) from None
            if not told:
                kind = type(method.__self__).__name__  # type: ignore[attr-defined]
                warn(f'{kind}: {error}; curves of this run are lost from here on')
            told.append(error)
            return None

    return call


def _without_full_disk(hook: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(hook)
    def call(args: threading.ExceptHookArgs) -> None:
        is_writer = type(args.thread).__module__.startswith('tensorboard.')
        if not (is_writer and issubclass(args.exc_type, OSError)):
            hook(args)

    return call


def _print_warning(text: str) -> None:
    try:
        print(f'warning: {text}', file=sys.stderr, flush=True)
    except OSError:  # the same disk
        atexit.register(_drop_output)


def _drop_output() -> None:
    """Give up what cannot be written; Python would exit with an error for it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
