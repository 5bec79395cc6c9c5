"""A minute of a training run: its steps, loaders, validation, checkpoint and memory.

The runner is that of a real run and does what a real run does, in a folder that is
thrown away.
"""

from __future__ import annotations

import copy
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import ismethod
from itertools import pairwise
from multiprocessing import active_children
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop, Runner

from ..analysis.plan import Run, count_events
from ..datasets.from_config import clips_per_video, iter_built
from ..datasets.resumable_loader import ResumableDataLoader
from .batch_report import report_batches
from .checks import check_length
from .model_sizes import iter_dicts
from .runner import build_runner
from .schedule_report import report_schedule

# How the seconds of a measurement are divided.
_TOGETHER, _ALONE, _LOADING, _VALIDATION = 0.5, 0.2, 0.15, 0.15
_FEWEST_STEPS = 3
_MOST_STEPS_ALONE = 50
# What is not part of a run that is measured: it would answer Ctrl-C with a checkpoint.
_LEFT_OUT = ('StopOnSignalHook',)


@dataclass(frozen=True)
class Numbers:
    """What one process has measured, see ``analysis.plan.Measurement``.

    Attributes:
        training_memory (int): peak of steps alone, before validation and checkpoint.
        device (str): its name.
    """

    run: Run
    step: float
    busy_cores: float
    iteration: float
    start: float
    setup: float
    decode: float
    transform: float
    validation: float
    pause: float
    memory: int
    training_memory: int
    memory_per_worker: int
    device: str


def forget_weights(cfg: Config) -> None:
    """Start from no weights, in place: they need not be there, and cost no time.

    Args:
        cfg (Config): of a run.
    """
    cfg.load_from, cfg.resume = None, False
    for _, node in iter_dicts(cfg.model):
        init = node.get('init_cfg')
        if isinstance(init, dict) and init.get('type') == 'Pretrained':
            node['init_cfg'] = None


def measure(cfg: Config, seconds: float, steps_only: bool = False) -> Numbers:
    """Measure a run, in a process of its own: its peak of memory is part of it.

    Args:
        cfg (Config): of a training run that has been checked.
        seconds (float): to spend, about.
        steps_only (bool): leave out all but steps and memory. Defaults to False.

    Returns:
        Numbers: what was measured.

    Raises:
        ValueError: if the videos do not make one batch.
        RuntimeError: such as where memory is too small.
    """
    cfg.log_level = 'ERROR' if steps_only else 'WARNING'
    if steps_only:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.custom_hooks = [
        hook
        for hook in cfg.get('custom_hooks') or ()
        if not (isinstance(hook, dict) and hook.get('type') in _LEFT_OUT)
    ]
    run = _describe_checkpoints(cfg)
    with TemporaryDirectory(prefix='adamae_plan_') as folder:
        cfg.work_dir = folder
        runner = build_runner(cfg, 'train')
        check_length(runner)
        if not steps_only:
            report_batches(runner)
            report_schedule(runner)
        session = _Session(runner, seconds, steps_only, run)
        session.setup = -time.perf_counter()
        runner.train_loop.run = session.run  # the runner sets all up, then calls it
        runner.train()
        return session.result()


def _describe_checkpoints(cfg: Config) -> dict[str, Any]:
    """Note how often a run saves, and keep it from doing so while it is measured."""
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    if not hook:
        return {}
    kept = dict(hook)
    hook['interval'] = -1
    hook.pop('save_best', None)
    hook.pop('out_dir', None)
    if 'every_minutes' in hook or hook.get('type') == 'SafeCheckpointHook':
        hook['every_minutes'] = None
    return kept


class _Session:
    """The measurement of one run.

    Args:
        runner (Runner): of the run.
        seconds (float): to spend.
        steps_only (bool): leave out all but steps and memory.
        checkpoint (dict): config of the run's checkpoint hook.
    """

    def __init__(
        self,
        runner: Runner,
        seconds: float,
        steps_only: bool,
        checkpoint: dict[str, Any],
    ) -> None:
        self.runner = runner
        self.loop: Any = runner.train_loop
        self.seconds = seconds
        self.steps_only = steps_only
        self.checkpoint = checkpoint
        self.device = torch.device(get_device())
        self.is_gpu = self.device.type == 'cuda'
        self.validation = self.pause = self.decode = self.transform = 0.0
        self.memory_per_worker = 0
        self.setup = 0.0

    def run(self) -> torch.nn.Module:
        """Stand where the loop of a real run stands."""
        runner = self.runner
        self.setup += time.perf_counter()
        runner.call_hook('before_train')
        try:
            self._measure()
        finally:  # it waits for the checkpoint that is being written
            runner.call_hook('after_train')
        return runner.model

    def _measure(self) -> None:
        runner = self.runner
        # As many steps as it takes; a run may have fewer.
        runner.optim_wrapper.initialize_count_status(runner.model, 0, -1)
        share = 0.3 if self.steps_only else 0.15
        self._tell('first steps')
        stamps, self.is_short = self._pass(share * self.seconds)
        times = [b - a for a, b in pairwise(stamps)]
        # The first step allocates memory and makes the optimizer's state.
        self.setup += max(times[0] - median(times), 0.0)
        self.training_memory = self._peak()
        if not self.steps_only:
            self._save()
            if runner.val_loop is not None:
                self._tell('validation')
                self._validate(_VALIDATION * self.seconds)
            self._tell('steps and loading together')
            self._train_together((_TOGETHER - share) * self.seconds)
        self.memory = self._peak()
        self.loop.dataloader.close()
        self._tell('steps alone')
        self._train_alone((0.5 if self.steps_only else _ALONE) * self.seconds)
        if not self.steps_only:
            self._tell('loading alone')
            self._load_alone(_LOADING * self.seconds)

    def result(self) -> Numbers:
        """Give what was measured."""
        return Numbers(
            run=self._describe(),
            step=self.step,
            busy_cores=self.busy_cores,
            iteration=self.iteration,
            start=self.start,
            setup=self.setup,
            decode=self.decode,
            transform=self.transform,
            validation=self.validation,
            pause=self.pause,
            memory=self.memory,
            training_memory=self.training_memory,
            memory_per_worker=self.memory_per_worker,
            device=torch.cuda.get_device_name() if self.is_gpu else 'CPU',
        )

    def _describe(self) -> Run:
        loop, cfg = self.loop, self.runner.cfg
        loader = loop.dataloader
        by_epoch = isinstance(loop, EpochBasedTrainLoop)
        length = loop.max_epochs if by_epoch else loop.max_iters
        validations = 0
        if self.runner.val_loop is not None:
            validations = count_events(
                length, loop.val_interval, begin=max(loop.val_begin, 1)
            )
        interval, saved = self.checkpoint.get('interval', -1), 0
        if self.checkpoint:
            if by_epoch and not self.checkpoint.get('by_epoch', True):
                interval = -(-interval // len(loader)) if interval > 0 else interval
            elif not by_epoch and self.checkpoint.get('by_epoch', True):
                interval = length
            saved = count_events(
                length, interval, self.checkpoint.get('save_last', True)
            )
        return Run(
            videos=len(loader.dataset),
            clips=clips_per_video(cfg.train_dataloader.dataset),
            batch=loader.batch_sampler.batch_size,
            steps=len(loader),
            length=length,
            by_epoch=by_epoch,
            passes=cfg.optim_wrapper.get('accumulative_counts', 1),
            validations=validations,
            checkpoints=saved,
            workers=loader.num_workers,
            drop_last=loader.batch_sampler.drop_last,
        )

    def _tell(self, what: str) -> None:
        size = self.loop.dataloader.batch_sampler.batch_size
        print(f'measuring batch {size}: {what} ...', file=sys.stderr, flush=True)

    def _now(self) -> float:
        if self.is_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    def _step(self, index: int, batch: Any) -> None:
        if isinstance(self.loop, EpochBasedTrainLoop):
            self.loop.run_iter(index, batch)
        else:
            self.loop.run_iter(batch)

    def _pass(self, seconds: float) -> tuple[list[float], bool]:
        """Train for some time, for an epoch at most.

        Returns:
            tuple[list[float], bool]: when each step had ended, after the arrival of the
            first batch; whether the epoch has come to its end.
        """
        runner = self.runner
        runner.call_hook('before_train_epoch')
        runner.model.train()
        begin = self._now()
        stamps: list[float] = []
        length = len(self.loop.dataloader)
        for index, batch in enumerate(self.loop.dataloader):
            if not stamps:
                stamps.append(self._now())
                self.start = stamps[0] - begin
            self._step(index, batch)
            stamps.append(time.perf_counter())
            self.batch = batch
            is_enough = stamps[-1] - begin > seconds and index + 1 >= _FEWEST_STEPS
            if is_enough and index + 1 < length:
                stamps[-1] = self._now()
                self._count_workers()
                return stamps, False
        stamps[-1] = self._now()
        self._count_workers()
        return stamps, True

    def _train_together(self, seconds: float) -> None:
        """Train as the run does, whole epochs if they are short."""
        end = time.perf_counter() + seconds
        starts, taken, steps = [self.start], 0.0, 0
        while True:
            stamps, is_whole = self._pass(max(end - time.perf_counter(), 0))
            starts.append(self.start)
            # Batches that workers have made during the first steps come for nothing.
            ahead = 0 if is_whole else min(len(stamps) // 3, 2 + self._queue())
            if is_whole or not steps:
                taken += stamps[-1] - stamps[ahead]
                steps += len(stamps) - 1 - ahead
            if time.perf_counter() >= end or not is_whole:
                break
        self.iteration = taken / steps
        # The first one starts the workers, and one after a pass that was cut short
        # waits for what they had begun: neither is part of other epochs.
        self.start = median(starts[1:]) if self.is_short else min(starts)

    def _queue(self) -> int:
        loader = self.loop.dataloader
        return loader.num_workers * (loader.prefetch_factor or 0)

    def _train_alone(self, seconds: float) -> None:
        times: list[float] = []
        processor: list[float] = []
        end = time.perf_counter() + seconds
        while len(times) <= _FEWEST_STEPS or (
            time.perf_counter() < end and len(times) < _MOST_STEPS_ALONE
        ):
            batch = copy.deepcopy(self.batch)  # blending changes labels in place
            begin, used = self._now(), time.process_time()
            self._step(len(times), batch)
            times.append(self._now() - begin)
            processor.append(time.process_time() - used)
        # The first one finds caches cold.
        self.step = median(times[1:])
        self.busy_cores = sum(processor[1:]) / sum(times[1:])
        if self.steps_only:
            self.iteration = self.step

    def _save(self) -> None:
        """Save once; what else the hook does beside training goes on as in a run."""
        for hook in self.runner.hooks:
            if isinstance(hook, CheckpointHook):
                begin = time.perf_counter()
                hook._save_checkpoint(self.runner)
                self.pause = time.perf_counter() - begin

    def _validate(self, seconds: float) -> None:
        """Validate, or as much of it as there is time for."""
        runner, loop = self.runner, self.runner.val_loop
        runner.call_hook('before_val')
        runner.call_hook('before_val_epoch')
        runner.model.eval()
        count = len(loop.dataloader)
        begin = first = self._now()
        for index, batch in enumerate(loop.dataloader):
            loop.run_iter(index, batch)
            if not index:
                first = self._now()
            if self._now() - begin > seconds and 2 <= index + 1 < count:
                each = (self._now() - first) / index
                self.validation = first - begin + each * (count - 1)
                return
        loop.evaluator.evaluate(len(loop.dataloader.dataset))
        self.validation = self._now() - begin

    def _load_alone(self, seconds: float) -> None:
        """Load random videos on one core, the parts of the pipeline timed."""
        dataset = self.loop.dataloader.dataset
        if isinstance(self.loop.dataloader, ResumableDataLoader):
            dataset = dataset.dataset  # under that which seeds
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        chosen = random.Random(0)
        whole, count = 0.0, 0
        with _decoding_timed(dataset) as decoding:
            end = time.perf_counter() + seconds
            while count < _FEWEST_STEPS or time.perf_counter() < end:
                begin = time.perf_counter()
                dataset[chosen.randrange(len(dataset))]
                whole += time.perf_counter() - begin
                count += 1
        torch.set_num_threads(threads)
        self.decode = sum(decoding) / count
        self.transform = whole / count - self.decode

    def _count_workers(self) -> None:
        sizes = [_private_memory(child.pid) for child in active_children()]
        if sizes:
            self.memory_per_worker = max(sizes)

    def _peak(self) -> int:
        if self.is_gpu:
            return torch.cuda.max_memory_reserved()
        return peak_resident()


@contextmanager
def _decoding_timed(dataset: Any) -> Iterator[list[float]]:
    """Collect the seconds of all transforms up to those that decode."""
    seconds: list[float] = []

    def timed(function: Callable) -> Callable:
        def call(results: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(results)
            finally:
                seconds.append(time.perf_counter() - begin)

        return call

    pipelines = [part.pipeline for part in iter_built(dataset)]
    originals = [pipeline.transforms for pipeline in pipelines]
    for pipeline, steps in zip(pipelines, originals, strict=True):
        names = [_name_inside(step) for step in steps]
        last = max((i for i, name in enumerate(names) if 'Decode' in name), default=-1)
        loading = [timed(step) for step in steps[: last + 1]]
        pipeline.transforms = [*loading, *steps[last + 1 :]]
    try:
        yield seconds
    finally:
        for pipeline, steps in zip(pipelines, originals, strict=True):
            pipeline.transforms = steps


def _name_inside(step: Any) -> str:
    """Name the class of a transform, under what guards it."""
    inner = getattr(step, 'transform', None)
    return (
        type(step).__name__
        if inner is None or ismethod(inner)
        else (_name_inside(inner))
    )


def peak_resident() -> int:
    """Give the most bytes of memory that this process has held."""
    try:
        # Another figure is inherited from the process that started this one.
        for line in Path('/proc/self/status').read_text().splitlines():
            if line.startswith('VmHWM:'):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024


def _private_memory(pid: int | None) -> int:
    try:
        lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
    except OSError:
        return 0
    return sum(int(x.split()[1]) * 1024 for x in lines if x.startswith('Private_'))


def total_memory() -> int:
    """Give the bytes of the device's memory; on a CPU what is available now."""
    if get_device() == 'cuda':
        return torch.cuda.get_device_properties(0).total_memory
    try:
        for line in Path('/proc/meminfo').read_text().splitlines():
            if line.startswith('MemAvailable:'):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def usable_cores() -> int:
    """Count the CPU cores that this process may use."""
    return (
        len(os.sched_getaffinity(0))
        if hasattr(os, 'sched_getaffinity')
        else (os.cpu_count() or 1)
    )
