"""A plan of a run: measured in processes of its own, memory of a GPU predicted."""

from __future__ import annotations

import copy
import os
import signal
import sys
import time
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from functools import partial
from multiprocessing import get_context, parent_process, set_start_method
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from types import FrameType
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings

from projects.adamae_command import docs_page

from ..analysis import memory
from ..analysis.plan import Measurement, Plan, Timings, line_through
from ..datasets.from_config import clips_per_video
from ..utils.environment import usable_cores
from .checks import check_training
from .configs import apply_train_arguments
from .distributed import disable_amp_on_cpu
from .measuring import (
    Numbers,
    forget_weights,
    measure,
    total_memory,
)

# Of the seconds, what the smaller batch gets, if the other leaves it.
_SMALL = 0.2
_SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
# Steps that it needs.
_FEWEST_SMALL = 4
# CPU cores that other work may take before a plan says so; watched for some seconds.
_BUSY, _WATCHED = 0.3, 0.5
_NO_MEMORY = 'out of memory', 'allocate memory', 'Cannot allocate'


class Planned(NamedTuple):
    """A plan and what it is of.

    Attributes:
        plan (Plan): of one device.
        machine (str): what it was measured on.
        gpu_memory (Callable, optional): predicted bytes of a GPU by batch; None where
            the model does not say how large its clips are.
    """

    plan: Plan
    machine: str
    gpu_memory: Callable[[int], float] | None


class OutOfMemory(Exception):
    """A batch does not fit into the memory of this machine."""


def prepare_to_plan(cfg: Config, args: Namespace) -> None:
    """Check the config of a run as ``tools/train.py`` does, in place.

    What the run would start with or go on from need not be there yet.

    Args:
        cfg (Config): of a run.
        args (Namespace): of ``tools/plan.py``, those of ``tools/train.py`` that change
            how long a step takes.

    Raises:
        FileNotFoundError: if videos or lists are missing.
        ValueError: if the config contradicts itself or them.
    """
    forget_weights(cfg)
    with TemporaryDirectory(prefix='adamae_plan_') as folder:
        cfg.work_dir = folder
        rest = dict(resume=None, overwrite=False, auto_scale_lr=False, seed=None)
        rest |= dict(diff_rank_seed=False, deterministic=False)
        apply_train_arguments(cfg, Namespace(**{**vars(args), **rest}))
        check_training(cfg)
    disable_amp_on_cpu(cfg)


def make_plan(cfg: Config, seconds: float, begun: float | None = None) -> Planned:
    """Measure a run for a while and plan it.

    A batch that does not fit is halved, which is said. Ctrl-C, SIGTERM and SIGHUP end
    the process in one line.

    Args:
        cfg (Config): of a training run that has been checked.
        seconds (float): to measure, besides the start of a process; two if there is
            time left for a smaller batch.
        begun (float, optional): when the tool was started (``time.perf_counter``).
            Defaults to now.

    Returns:
        Planned: of the config's batch, or the largest half of it that fits.

    Raises:
        OutOfMemory: if one video does not fit.
        ValueError: if the videos do not make one batch.
    """
    now = time.perf_counter()
    before = now - (now if begun is None else begun)
    cfg = Config(cfg.to_dict())
    busy = _busy_cores()
    batch = cfg.train_dataloader.batch_size
    with _ended_by_signals():
        while True:
            cfg.train_dataloader.batch_size = batch
            started = time.perf_counter()
            try:
                numbers = _measure(cfg, (1 - _SMALL) * seconds)
                break
            except OutOfMemory as error:
                if batch == 1:
                    raise OutOfMemory(
                        f'train_dataloader.batch_size=1 does not fit into memory: '
                        f'{error}; take a smaller model, or with_cp=True in its parts '
                        f'({docs_page("speed")})'
                    ) from None
                batch //= 2
                print(
                    f'train_dataloader.batch_size={2 * batch} does not fit into '
                    f'memory: planning with {batch}',
                    file=sys.stderr,
                )
        small = batch // 2 or 2
        start = max(time.perf_counter() - started - numbers.seconds, 0.0)
        left = seconds - numbers.seconds
        other = None
        if left > start + _FEWEST_SMALL * numbers.step * small / batch:
            less = Config(cfg.to_dict())
            less.train_dataloader.batch_size = small
            try:
                other = _measure(less, left - start, steps_only=True)
            except (OutOfMemory, ValueError):
                if small < batch:
                    raise  # two videos do not fit, or there is one only
    is_cpu = get_device() != 'cuda'
    gpu_memory = _predict(cfg)
    per_video = 0.0
    if gpu_memory is not None and (other is None or not is_cpu):
        per_video = gpu_memory(batch + 1) - gpu_memory(batch)
    elif other is not None:
        per_video = numbers.training_memory - other.training_memory
        per_video /= batch - small
    memory_now = total_memory()
    timings = {field.name: getattr(numbers, field.name) for field in fields(Timings)}
    timings['startup'] += before
    measured = Measurement(
        **timings,
        small_batch=0 if other is None else small,
        small_step=0.0 if other is None else other.step,
        cores=usable_cores(),
        is_cpu=is_cpu,
        memory_per_video=max(per_video, _bytes_per_clip(cfg) * numbers.run.clips),
        total_memory=memory_now,
    )
    what = '' if is_cpu else f'{numbers.device}, {memory_now / 1e9:.3g} GB; '
    free = f'no GPU, {memory_now / 1e9:.3g} GB of memory free; ' if is_cpu else ''
    machine = f'{what}{free}{measured.cores} CPU cores'
    if busy > _BUSY:
        machine += (
            f'; other work takes {busy:.1f} of them: plan again when they are idle, '
            'the times are too long'
        )
    return Planned(Plan(numbers.run, measured), machine, gpu_memory if is_cpu else None)


def _busy_cores() -> float:
    """Watch how many CPU cores work while this process waits."""

    def worked() -> int:  # user, nice, system
        return sum(map(int, Path('/proc/stat').read_text().split()[1:4]))

    try:
        before = worked()
        time.sleep(_WATCHED)
        ticks = worked() - before
    except OSError:  # only Linux tells; the last minute does as well
        return os.getloadavg()[0]
    return ticks / os.sysconf('SC_CLK_TCK') / _WATCHED


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """End at a signal as by an exception, so that nothing is left behind."""

    def end(number: int, frame: FrameType | None) -> None:
        for other in _SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        os.write(2, f'stopped by {signal.Signals(number).name}: no plan\n'.encode())
        raise SystemExit(128 + number)

    before = {n: signal.getsignal(n) for n in _SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _measure(cfg: Config, seconds: float, steps_only: bool = False) -> Numbers:
    """Measure in a process of its own, whose memory is that of a run, and no more."""
    context = get_context('spawn')
    ours, theirs = context.Pipe()
    with TemporaryDirectory(prefix='adamae_plan_', ignore_cleanup_errors=True) as out:
        args = theirs, cfg.to_dict(), seconds, out, steps_only
        process = context.Process(target=_child, args=args)
        process.start()
        group = process.pid
        assert group is not None
        theirs.close()
        try:
            error, text, numbers = ours.recv()
        except (EOFError, ConnectionError):
            process.join()
            if process.exitcode == -signal.SIGKILL:
                raise OutOfMemory('the process was killed') from None
            raise RuntimeError(
                f'the process that measures ended with code {process.exitcode}; what '
                'it said is above'
            ) from None
        finally:
            assert process.pid is not None  # as it was started
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)  # and its loaders
            process.kill()
            process.join()
    if error is None:
        return numbers
    said = ' '.join(str(error).split())
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(x in said for x in _NO_MEMORY)
    ):
        raise OutOfMemory(said[:200])
    raise error from RuntimeError(text)


def _child(answer: Connection, cfg: dict[str, Any], *args: Any) -> None:
    os.setsid()  # so that the one who waits can end this process and its loaders
    Thread(target=_end_with_parent, daemon=True).start()
    result: tuple[Exception | None, str, Numbers | None]
    try:
        modules = cfg.get('custom_imports')
        if modules:  # what the config registers, with its file as without
            import_modules_from_strings(**modules)
        set_start_method(None, force=True)  # the run chooses that of its workers
        result = None, '', measure(Config(cfg), *args)
    except Exception as error:
        text = traceback.format_exc()
        try:
            copy.deepcopy(error)  # which fails where pickle does
        except Exception:  # not every exception can be sent
            error = RuntimeError(f'{type(error).__name__}: {error}')
        result = error, text, None
    answer.send(result)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)


def _predict(cfg: Config) -> Callable[[int], float] | None:
    """Predict the memory of a GPU at growing batches."""
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    clips = clips_per_video(cfg.train_dataloader.dataset)
    batch = cfg.train_dataloader.batch_size
    points = []
    try:
        for size in sorted({batch, 2 * batch, 8 * batch}):
            make = partial(memory.config_step, cfg, size * clips)
            points.append((size, float(memory.predict(make).total)))
    except ValueError:  # a model of another project, whose clips have any size
        return None
    return line_through(points)


def _bytes_per_clip(cfg: Config) -> int:
    """The least that a clip takes: its pixels, as bytes and as float32."""
    backbone = cfg.model.get('backbone') or {}
    size = backbone.get('img_size', 0)
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return 5 * 3 * backbone.get('num_frames', 1) * height * width
