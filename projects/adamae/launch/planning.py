"""A plan of a run: measured in processes of its own, memory of a GPU predicted."""

from __future__ import annotations

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context, set_start_method
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings

from ..analysis import memory
from ..analysis.plan import Measurement, Plan, line_through
from ..datasets.from_config import clips_per_video
from .checks import check_training
from .configs import apply_train_arguments
from .distributed import disable_amp_on_cpu
from .measuring import (
    Numbers,
    forget_weights,
    measure,
    total_memory,
    usable_cores,
)

# Of the seconds, what the smaller batch gets.
_SMALL = 0.2
# Processes that are at work before the measurement, for each core.
_BUSY = 0.5
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


def make_plan(cfg: Config, seconds: float) -> Planned:
    """Measure a run for a while and plan it.

    A batch that does not fit is halved, which is said.

    Args:
        cfg (Config): of a training run that has been checked.
        seconds (float): to measure, besides the start of two processes.

    Returns:
        Planned: of the config's batch, or the largest half of it that fits.

    Raises:
        OutOfMemory: if one video does not fit.
        ValueError: if the videos do not make one batch.
    """
    cfg = Config(cfg.to_dict())
    load = os.getloadavg()[0]
    batch = cfg.train_dataloader.batch_size
    while True:
        cfg.train_dataloader.batch_size = batch
        try:
            numbers = _measure(cfg, (1 - _SMALL) * seconds)
            break
        except OutOfMemory as error:
            if batch == 1:
                raise OutOfMemory(
                    f'train_dataloader.batch_size=1 does not fit into memory: {error}; '
                    'take a smaller model, or with_cp=True in its parts (docs/speed.md)'
                ) from None
            batch //= 2
            print(
                f'train_dataloader.batch_size={2 * batch} does not fit into memory: '
                f'planning with {batch}',
                file=sys.stderr,
            )
    small = batch // 2 or 2
    less = Config(cfg.to_dict())
    less.train_dataloader.batch_size = small
    try:
        other = _measure(less, _SMALL * seconds, steps_only=True)
    except (OutOfMemory, ValueError):
        if small < batch:
            raise
        other = numbers  # two videos do not fit, or there is one only
    is_cpu = get_device() != 'cuda'
    gpu_memory = _predict(cfg)
    per_video = (numbers.training_memory - other.training_memory) / (
        batch - (small if other is not numbers else 0)
    )
    if not is_cpu and gpu_memory is not None:
        per_video = gpu_memory(batch + 1) - gpu_memory(batch)
    memory_now = total_memory()
    measured = Measurement(
        step=numbers.step,
        small_batch=small if other is not numbers else 0,
        small_step=other.step if other is not numbers else 0.0,
        busy_cores=numbers.busy_cores,
        iteration=numbers.iteration,
        start=numbers.start,
        setup=numbers.setup,
        decode=numbers.decode,
        transform=numbers.transform,
        validation=numbers.validation,
        pause=numbers.pause,
        cores=usable_cores(),
        is_cpu=is_cpu,
        memory=numbers.memory,
        memory_per_video=max(per_video, _bytes_per_clip(cfg) * numbers.run.clips),
        memory_per_worker=numbers.memory_per_worker,
        total_memory=memory_now,
    )
    what = '' if is_cpu else f'{numbers.device}, {memory_now / 1e9:.3g} GB; '
    machine = f'{what}{measured.cores} CPU cores'
    if is_cpu:
        machine += f', no GPU; {memory_now / 1e9:.3g} GB of memory free'
    if load > _BUSY * measured.cores:
        machine += (
            f'; busy with other work (load {load:.1f}): plan again when it is idle, '
            'the times are too long'
        )
    return Planned(Plan(numbers.run, measured), machine, gpu_memory if is_cpu else None)


def _measure(cfg: Config, seconds: float, steps_only: bool = False) -> Numbers:
    """Measure in a process of its own, whose memory is that of a run, and no more."""
    with ProcessPoolExecutor(1, get_context('spawn')) as pool:
        try:
            return pool.submit(_child, cfg.to_dict(), seconds, steps_only).result()
        except BrokenProcessPool:
            raise OutOfMemory('the process was killed') from None
        except (RuntimeError, MemoryError) as error:
            text = ' '.join(str(error).split())
            if isinstance(error, MemoryError) or any(x in text for x in _NO_MEMORY):
                raise OutOfMemory(text[:200]) from None
            raise


def _child(cfg: dict[str, Any], seconds: float, steps_only: bool) -> Numbers:
    modules = cfg.get('custom_imports')
    if modules:  # what the config registers, with its file as without
        import_modules_from_strings(**modules)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    set_start_method(None, force=True)  # the run chooses that of its workers
    return measure(Config(cfg), seconds, steps_only)


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
