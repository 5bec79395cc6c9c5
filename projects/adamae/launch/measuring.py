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
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop, Runner

from ..analysis.plan import Run, Timings, count_events
from ..datasets.from_config import clips_per_video, iter_built
from ..datasets.resumable_loader import ResumableDataLoader
from ..engine.hooks import SafeCheckpointHook
from ..utils.environment import usable_cores
from .batch_report import report_batches
from .checks import check_length
from .model_sizes import iter_dicts
from .runner import build_runner
from .schedule_report import report_schedule

# At which part of its seconds each piece of a measurement ends; loading is the last.
_FIRST, _VALIDATION, _TOGETHER, _ALONE = 0.2, 0.4, 0.8, 0.9
# The first one allocates memory and makes the optimizer's state, which takes an update.
_FEWEST_STEPS, _MOST_STEPS_AN_UPDATE = 2, 4
_MOST_STEPS_ALONE = 50
# What is not part of a run that is measured: it would answer Ctrl-C with a checkpoint.
_LEFT_OUT = ('StopOnSignalHook',)


@dataclass(frozen=True)
class Numbers(Timings):
    """What one process has measured of a run.

    Attributes:
        run (Run): that was measured.
        training_memory (int): peak of steps alone, before validation and checkpoint.
        device (str): its name.
        seconds (float): that the measurement took.
    """

    run: Run
    training_memory: int
    device: str
    seconds: float


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


def measure(
    cfg: Config, seconds: float, folder: str, steps_only: bool = False
) -> Numbers:
    """Measure a run, in a process of its own: its peak of memory is part of it.

    Args:
        cfg (Config): of a training run that has been checked.
        seconds (float): to spend once the run is set up; more if a step takes long.
        folder (str): for what it writes, to be removed by the caller.
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
    checkpoint = _describe_checkpoints(cfg)
    cfg.work_dir = folder
    startup = -time.perf_counter()
    runner = build_runner(cfg, 'train')
    startup += time.perf_counter()
    session = _Session(runner, seconds, steps_only, checkpoint)
    session.startup = startup
    session.setup = -time.perf_counter()
    check_length(runner)
    if not steps_only:
        report_batches(runner)
        report_schedule(runner)
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


@dataclass(frozen=True)
class _Pass:
    """Steps of an epoch, or of a part of it.

    Attributes:
        start (float): seconds until the first batch was there.
        times (list[float]): of each step and what it waited for; of the first, without.
        is_whole (bool): whether the epoch came to its end.
        processor (float): seconds of this process, on all cores.
    """

    start: float
    times: list[float]
    is_whole: bool
    processor: float


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
        self.validation = self.pause = self.write = 0.0
        self.decode = self.transform = self.loading_work = 0.0
        self.memory_per_worker = 0
        self.setup = self.startup = 0.0
        self.passes: list[_Pass] = []

    def run(self) -> torch.nn.Module:
        """Stand where the loop of a real run stands."""
        runner = self.runner
        self.begin = time.perf_counter()
        self.setup += self.begin
        runner.call_hook('before_train')
        self.setup += time.perf_counter() - self.begin
        try:
            self._measure()
        finally:  # it waits for the checkpoint that is being written
            runner.call_hook('after_train')
        return runner.model

    def _measure(self) -> None:
        runner = self.runner
        # As many steps as it takes; a run may have fewer.
        runner.optim_wrapper.initialize_count_status(runner.model, 0, -1)
        self._tell('first steps')
        self._pass(_FIRST)
        self.training_memory = self._peak()
        if not self.is_gpu and len(self.passes[0].times) == 1:
            # The next step will have its activations and this beside each other.
            self.training_memory += self._optimizer_state()
        if self.steps_only:
            self.memory = self.training_memory
            self.loop.dataloader.close()
            self._summarize_passes()
            self._train_alone(1)
            self.training_memory = self._peak()
            return
        self._save()
        if runner.val_loop is not None:
            self._tell('validation')
            self._validate()
        if self._has_time(_TOGETHER):
            self._tell('steps and loading together')
            self._save(wait=False)  # its copy is part of the memory of a run
            while True:
                self._pass(_TOGETHER)
                if not self.passes[-1].is_whole or not self._has_time(_TOGETHER):
                    break
        self.memory = max(self._peak(), self.training_memory)
        self.loop.dataloader.close()
        self._summarize_passes()
        if self._has_time(_ALONE):
            self._tell('steps alone')
            self._train_alone(_ALONE)
        self._tell('loading alone')
        self._load_alone()
        self._summarize_starts()

    def _left(self, share: float) -> float:
        """Give the seconds until a part of them is over."""
        return self.begin + share * self.seconds - time.perf_counter()

    def _has_time(self, share: float) -> bool:
        """Whether there is time for two more steps."""
        return self._left(share) > 2 * self.passes[0].times[-1]

    def result(self) -> Numbers:
        """Give what was measured."""
        return Numbers(
            run=self._describe(),
            step=self.step,
            steps_measured=self.steps_measured,
            busy_cores=self.busy_cores,
            iteration=self.iteration,
            start=self.start,
            setup=self.setup,
            startup=self.startup,
            decode=self.decode,
            transform=self.transform,
            loading_work=self.loading_work,
            validation=self.validation,
            pause=self.pause,
            write=self.write,
            memory=self.memory,
            training_memory=self.training_memory,
            memory_per_worker=self.memory_per_worker,
            device=torch.cuda.get_device_name() if self.is_gpu else 'CPU',
            seconds=time.perf_counter() - self.begin,
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
            best_checkpoints=validations if self.checkpoint.get('save_best') else 0,
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

    def _pass(self, share: float) -> None:
        """Train until a part of the seconds is over, for an epoch at most."""
        runner = self.runner
        runner.call_hook('before_train_epoch')
        runner.model.train()
        fewest = _FEWEST_STEPS
        if not self.passes:
            wanted = runner.cfg.optim_wrapper.get('accumulative_counts', 1)
            fewest = 1 + min(wanted, _MOST_STEPS_AN_UPDATE)
        begin = self._now()
        stamps: list[float] = []
        used = 0.0
        is_whole = True
        length = len(self.loop.dataloader)
        for index, batch in enumerate(self.loop.dataloader):
            if not stamps:
                stamps.append(self._now())
                used -= time.process_time()
            self._step(index, batch)
            stamps.append(time.perf_counter())
            self.batch = batch
            if self._left(1) < 0:
                fewest = 1  # each takes as long as all of the measurement
            if self._left(share) < 0 and fewest <= index + 1 < length:
                is_whole = False
                break
        stamps[-1] = self._now()
        self._count_workers()
        used += time.process_time()
        times = [b - a for a, b in pairwise(stamps)]
        self.passes.append(_Pass(stamps[0] - begin, times, is_whole, used))

    def _summarize_passes(self) -> None:
        """Say what an iteration takes, from the passes that are most like a run's."""
        first, *others = self.passes
        queue = self.loop.dataloader.num_workers
        queue *= self.loop.dataloader.prefetch_factor or 0
        whole = [x for x in others if x.is_whole]
        if whole:
            times = [time for x in whole for time in x.times]
            self.is_short = True
        else:
            # Batches that workers have made during the first steps come for nothing.
            last = others[-1] if others else first
            times = last.times[min(len(last.times) // 3, 2 + queue) :]
            if not others:
                times = first.times[max(len(first.times) - len(times), 1) :]
                times = times or first.times
            self.is_short = False
        self.iteration = sum(times) / len(times)
        self.steps_measured = len(times)
        # Until steps alone are measured.
        used = sum(x.processor for x in self.passes) / sum(
            sum(x.times) for x in self.passes
        )
        self.step, self.busy_cores = self.iteration, used

    def _summarize_starts(self) -> None:
        """Say what comes before the first step of the run, and of each epoch."""
        first, *others = self.passes
        # After a pass that was cut short workers end first what they had begun.
        clean = [y.start for x, y in pairwise(self.passes) if x.is_whole]
        self.start = min(x.start for x in self.passes)
        if clean:
            self.start = median(clean)
        elif self.loop.dataloader.persistent_workers:
            loading = self.decode + self.transform
            loading *= self.loop.dataloader.batch_sampler.batch_size
            self.start = min(self.start, loading)
        self.setup += max(first.start - self.start, 0.0)
        self.setup += max(first.times[0] - self.iteration, 0.0)
        if not self.is_short:  # there is one less to wait for than there are steps
            self.start = max(self.start - (self.iteration - self.step), 0.0)

    def _optimizer_state(self) -> int:
        optimizer = self.runner.optim_wrapper.optimizer
        states = [x for state in optimizer.state.values() for x in state.values()]
        return sum(x.nbytes for x in states if torch.is_tensor(x))

    def _train_alone(self, share: float) -> None:
        times: list[float] = []
        processor: list[float] = []
        while not times or (self._left(share) > 0 and len(times) < _MOST_STEPS_ALONE):
            batch = copy.deepcopy(self.batch)  # blending changes labels in place
            begin, used = self._now(), time.process_time()
            self._step(len(times), batch)
            times.append(self._now() - begin)
            processor.append(time.process_time() - used)
        # The first one finds caches cold.
        times, processor = times[1:] or times, processor[1:] or processor
        self.step = median(times)
        self.busy_cores = sum(processor) / sum(times)
        if self.steps_only:
            self.iteration, self.start = self.step, 0.0

    def _save(self, wait: bool = True) -> None:
        """Save once; what else the hook does beside training goes on as in a run."""
        for hook in self.runner.hooks:
            if isinstance(hook, CheckpointHook):
                begin = time.perf_counter()
                hook._save_checkpoint(self.runner)
                if not wait:
                    continue
                self.pause = time.perf_counter() - begin
                if isinstance(hook, SafeCheckpointHook):
                    used = time.process_time()
                    hook._settle(self.runner, wait=True)
                    self.write = time.perf_counter() - begin - self.pause
                    if not self.is_gpu:  # it takes that from the steps
                        used = time.process_time() - used
                        self.pause += min(used, self.write) / usable_cores()

    def _validate(self) -> None:
        """Validate twice, or as much of it as there is time for."""
        self.validation, is_whole = self._validate_once()
        if is_whole and self._left(_VALIDATION) > self.validation / 2:
            first, (self.validation, _) = self.validation, self._validate_once()
            self.setup += max(first - self.validation, 0.0)

    def _validate_once(self) -> tuple[float, bool]:
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
            if self._left(_VALIDATION) < 0 and index + 1 < count:
                done = self._now() - first
                each = done / index if index else first - begin
                return first - begin + each * (count - 1), False
        loop.evaluator.evaluate(len(loop.dataloader.dataset))
        return self._now() - begin, True

    def _load_alone(self) -> None:
        """Load random videos on one core, the parts of the pipeline timed."""
        dataset = self.loop.dataloader.dataset
        if isinstance(self.loop.dataloader, ResumableDataLoader):
            dataset = dataset.dataset  # under that which seeds
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        chosen = random.Random(0)
        whole, used, count = 0.0, -time.process_time(), 0
        with _decoding_timed(dataset) as decoding:
            while not count or self._left(1) > 0:
                begin = time.perf_counter()
                dataset[chosen.randrange(len(dataset))]
                whole += time.perf_counter() - begin
                count += 1
        torch.set_num_threads(threads)
        used += time.process_time()
        self.decode = sum(decoding) / count
        self.loading_work = used / count
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
