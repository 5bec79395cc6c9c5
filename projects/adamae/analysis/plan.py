"""What a training run will take, from what a minute of it took: arithmetic only."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from projects.adamae_command import docs_page, tool_name

# A device is kept busy where waiting adds no more than this to a step.
_NEAR = 1.05
# Of a device's memory, what allocators and other processes may take.
_MARGIN = 0.1
_MOST_CROPS = 8
# Several crops a decode are advised where they make training so much faster.
_GAIN = 1.1
# Of the work of a CPU that trains, too, what loading may be.
_LITTLE = 0.25
_LARGEST_BATCH = 2**16
# Fewer steps are no more than a rough measurement.
_FEW = 5


@dataclass(frozen=True)
class Run:
    """What a config says, and its data.

    Attributes:
        videos (int): of the training set.
        clips (int): made of a video each time that it is read.
        batch (int): videos a step and device.
        steps (int): of an epoch.
        length (int): epochs, or iterations in all.
        by_epoch (bool): which of the two.
        passes (int): steps an update (``accumulative_counts``).
        validations (int): of the whole run.
        checkpoints (int): of the whole run.
        best_checkpoints (int): the most that validations may add (``save_best``).
        workers (int): processes that load for each device.
        drop_last (bool): whether a last, smaller batch is left out.
    """

    videos: int
    clips: int
    batch: int
    steps: int
    length: int
    by_epoch: bool = True
    passes: int = 1
    validations: int = 0
    checkpoints: int = 0
    best_checkpoints: int = 0
    workers: int = 0
    drop_last: bool = True

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.length * self.steps if self.by_epoch else self.length


@dataclass(frozen=True)
class Timings:
    """What one process has measured; times in seconds, memory in bytes.

    Attributes:
        step (float): a step whose data is at hand.
        steps_measured (int): on how many steps the plan rests.
        busy_cores (float): of the CPU, in a step.
        iteration (float): a step and what it waits for, loaders at work.
        start (float): of an epoch, until its first batch is there.
        setup (float): once, before the first epoch, and more for the first step.
        startup (float): before that, until the log says so.
        decode (float): to open and decode a video, on one core.
        transform (float): what comes after that, for all clips of a video.
        loading_work (float): of processors, for a video.
        validation (float): once.
        pause (float): of the steps, for a checkpoint.
        write (float): until it is on the disk, beside the steps.
        memory (int): peak of the training process; on a GPU, that of the device.
        memory_per_worker (int): of each loader, on the CPU.
    """

    step: float
    steps_measured: int
    busy_cores: float
    iteration: float
    start: float
    setup: float
    startup: float
    decode: float
    transform: float
    loading_work: float
    validation: float
    pause: float
    write: float
    memory: int
    memory_per_worker: int


@dataclass(frozen=True)
class Measurement(Timings):
    """What was measured on one device.

    Attributes:
        small_batch (int): another number of videos a step; 0: none was measured,
        small_step (float): and what such a step takes.
        cores (int): CPU cores for a device and its loaders.
        is_cpu (bool): whether loaders and steps share those.
        memory_per_video (float): what another video in a batch adds to the peak.
        total_memory (int): of the device.
    """

    small_batch: int
    small_step: float
    cores: int
    is_cpu: bool
    memory_per_video: float
    total_memory: int


@dataclass(frozen=True)
class Time:
    """A whole run on a number of devices.

    Attributes:
        devices (int): how many.
        batch (int): videos a step and device.
        steps (int): of an epoch.
        epoch (float): seconds of an epoch, without validation.
        total (float): seconds, with validations and checkpoints, after ``startup``.
    """

    devices: int
    batch: int
    steps: int
    epoch: float
    total: float


def count_events(length: int, interval: int, last: bool = True, begin: int = 1) -> int:
    """Count what happens every so many epochs, and maybe at the end, too.

    Args:
        length (int): of the run.
        interval (int): from one to the next; 0 and less: never.
        last (bool): whether it happens at the end at any rate. Defaults to True.
        begin (int): when it may first happen. Defaults to 1.
    """
    if begin > length:
        return 0
    if interval <= 0:
        return int(last)
    regular = length // interval - (max(begin, 1) - 1) // interval
    return regular + int(last and length % interval > 0)


def step_seconds(measured: Measurement, batch: int, of_batch: int) -> float:
    """Seconds of a step with another batch, on the line through the two measured.

    Args:
        measured (Measurement): with batches of ``batch`` videos.
        batch (int): that of the measurement.
        of_batch (int): the other one.
    """
    slope = (measured.step - measured.small_step) / (batch - measured.small_batch)
    # Noise can tilt the line; more videos never take less time.
    slope = min(max(slope, 0.0), measured.step / batch)
    return measured.step + slope * (of_batch - batch)


def iteration_seconds(
    measured: Measurement, step: float, loading: float, workers: int
) -> float:
    """Seconds of a step and what it waits for, as far as the parts tell.

    Args:
        measured (Measurement): for its cores.
        step (float): seconds of the step alone.
        loading (float): seconds that one core takes to load its batch.
        workers (int): that load; none: the training process does it between steps.
    """
    if workers == 0:
        return step + loading
    found = max(step, loading / min(workers, measured.cores))
    if measured.is_cpu:
        work = step * measured.busy_cores + loading
        found = max(found, work / measured.cores)
    return found


class Plan:
    """A run, planned.

    Args:
        run (Run): what is to be done.
        measured (Measurement): of its batch and workers, on one device.
    """

    def __init__(self, run: Run, measured: Measurement) -> None:
        self.run = run
        self.measured = measured
        self.loading = (measured.decode + measured.transform) * run.batch
        parts = self._parts(run.workers)
        # What parts do not tell: collating, hand-over, caches, hooks.
        self._factor = measured.iteration / parts

    def _parts(self, workers: int) -> float:
        return iteration_seconds(
            self.measured, self.measured.step, self.loading, workers
        )

    @property
    def clips_per_second(self) -> float:
        """Clips trained on, per second of the run's steady state."""
        return self.run.batch * self.run.clips / self.measured.iteration

    def with_workers(self, workers: int) -> float:
        """Predict the seconds of an iteration with another number of workers."""
        return self._factor * self._parts(workers)

    def best_workers(self) -> int:
        """Find the fewest workers that are nearly as fast as any number of them."""
        choices = range(self.measured.cores + 1)
        best = min(map(self._parts, choices))
        return next(w for w in choices if self._parts(w) <= _NEAR * best)

    def crops_per_decode(self) -> int:
        """Find how many crops of each decode keep the device busy; 1: no more.

        Returns:
            int: the fewest with which loading on all cores takes no longer than the
            step, for the same number of clips (on a CPU that trains, too: a quarter of
            its work); at most 8.
        """
        measured = self.measured
        if measured.is_cpu:
            work = measured.step * measured.busy_cores
            allowed = work * _LITTLE / (1 - _LITTLE)
        else:
            allowed = _NEAR * measured.step * measured.cores
        # More are not worth it where most of it is what follows the decoder.
        allowed = max(allowed, 1.5 * measured.transform * self.run.batch)
        found = next(
            (n for n in range(1, _MOST_CROPS) if self._loading_with(n) <= allowed),
            _MOST_CROPS,
        )
        return found if self.with_crops(found) > _GAIN * self.with_crops(1) else 1

    def with_crops(self, crops: int) -> float:
        """Predict clips per second with several crops of each decode, best workers."""
        seconds = iteration_seconds(
            self.measured,
            self.measured.step,
            self._loading_with(crops),
            max(self.best_workers(), 1),
        )
        return self.run.batch * self.run.clips / (self._factor * seconds)

    def _loading_with(self, crops: int) -> float:
        return self.run.batch * (self.measured.decode / crops + self.measured.transform)

    def time(self, devices: int = 1, keep_total: bool = False) -> Time | None:
        """Predict the time on several such devices, each with as many CPU cores.

        Communication is not counted.

        Args:
            devices (int): how many. Defaults to 1.
            keep_total (bool): whether the videos of an update stay as they are, so
                that a device gets a part of the batch. Defaults to False.

        Returns:
            Time | None: None if there is no such batch, or no whole one.
        """
        run, measured = self.run, self.measured
        batch = run.batch
        if keep_total:
            if batch % devices:
                return None
            batch //= devices
        total = batch * devices
        steps = run.videos // total if run.drop_last else -(-run.videos // total)
        if steps == 0:
            return None
        if devices == 1:
            steps, iteration = run.steps, measured.iteration
        else:
            iteration = self._iteration_of(batch)
        epoch = measured.start + steps * iteration
        total_steps = run.length * steps if run.by_epoch else run.length
        passes = total_steps / steps
        seconds = measured.setup + passes * epoch + run.checkpoints * measured.pause
        validation = measured.validation / devices
        seconds += run.validations * validation
        # The best are written at once; the last state while the last validation runs.
        seconds += run.best_checkpoints * (measured.pause + measured.write)
        if run.checkpoints:
            seconds += max(measured.write - (validation if run.validations else 0), 0)
        return Time(devices, batch, steps, epoch, seconds)

    def _iteration_of(self, batch: int) -> float:
        if batch == self.run.batch:
            return self.measured.iteration
        step = step_seconds(self.measured, self.run.batch, batch)
        loading = self.loading * batch / self.run.batch
        return self._factor * iteration_seconds(
            self.measured, step, loading, self.run.workers
        )

    def memory_of(self, batch: int) -> float:
        """Predict the peak of memory with another batch, in bytes."""
        measured = self.measured
        return measured.memory + measured.memory_per_video * (batch - self.run.batch)

    def bottleneck(self) -> tuple[str, str]:
        """Name what limits the speed, and what to change.

        Returns:
            tuple[str, str]: a sentence, and an option or a page; '' if nothing helps.
        """
        run, measured = self.run, self.measured
        workers, now = self.best_workers(), measured.iteration
        better = self.with_workers(workers)
        if workers != run.workers and better < 0.9 * now:
            return (
                f'loading: {run.workers} workers take {now:.3g} s for what '
                f'{workers} do in about {better:.3g} s',
                f'train_dataloader.num_workers={workers}',
            )
        crops = self.crops_per_decode()
        share = self._loading_share()
        text = (
            f'loading: {share:.0%} of the work of these {measured.cores} cores, the '
            f'step {1 - share:.0%}'
            if measured.is_cpu
            else f'loading: all {measured.cores} cores take '
            f'{self.loading / measured.cores:.3g} s for the videos of a step of '
            f'{measured.step:.3g} s'
        )
        if share > 0.5:
            if crops > 1:
                return (
                    f'{text}; {crops} crops of each decoded clip make about '
                    f'{self.with_crops(crops):.3g} clips a second of '
                    f'{self.with_crops(1):.3g}',
                    f'PerClip(repeats={crops}), '
                    + docs_page('data', 'Repeated sampling'),
                )
            tool, page = tool_name('data/transcode.py'), docs_page('data')
            return text, f'smaller videos: {tool}, {page}'
        if measured.is_cpu:
            return (
                f'the arithmetic of the step: {1 - share:.0%} of the work of these '
                f'{measured.cores} cores, loading {share:.0%}',
                'a GPU, or a smaller model',
            )
        fixed = step_seconds(measured, run.batch, 0) / measured.step
        if measured.small_batch and fixed > 0.5:
            return (
                f'what a step takes whatever its batch ({fixed:.0%} of it)',
                'a larger train_dataloader.batch_size, or compile=True',
            )
        return 'the arithmetic of the step, which is how it should be', ''

    def _loading_share(self) -> float:
        """Of the work of the cores (CPU), or as what the device waits for."""
        measured = self.measured
        if measured.is_cpu:
            work = measured.step * measured.busy_cores
            loading = measured.loading_work * self.run.batch
            return loading / (loading + work)
        needed = self.loading / measured.cores
        return 1.0 if needed > _NEAR * measured.step else 0.0


def largest_batch(memory: Callable[[int], float], room: float) -> int:
    """Find the largest batch that fits, a margin left for what is not predicted.

    Args:
        memory (Callable[[int], float]): bytes by batch, growing.
        room (float): bytes there are.

    Returns:
        int: 0 if not even one video fits.
    """
    usable = (1 - _MARGIN) * room
    high = 1
    while high < _LARGEST_BATCH and memory(high) <= usable:
        high *= 2
    return bisect_right(range(1, high + 1), usable, key=memory)


def line_through(points: Sequence[tuple[int, float]]) -> Callable[[int], float]:
    """Join points by straight lines, and go on with the last one.

    Args:
        points (Sequence[tuple[int, float]]): at least two, by their first number.
    """

    def value(x: int) -> float:
        index = next((i for i, p in enumerate(points[1:-1], 1) if x <= p[0]), -1)
        (x0, y0), (x1, y1) = points[index - 1], points[index]
        return y0 + (y1 - y0) * (x - x0) / (x1 - x0)

    return value


def page(
    plan: Plan,
    title: str,
    machine: str,
    devices: Sequence[int] = (1, 2, 4, 8),
    price: float | None = None,
    gpu_memory: Callable[[int], float] | None = None,
) -> str:
    """Write a plan down for people.

    Args:
        plan (Plan): what is known.
        title (str): such as the config.
        machine (str): what it was measured on.
        devices (Sequence[int]): numbers of them. Defaults to (1, 2, 4, 8).
        price (float, optional): of a device for an hour. Defaults to None.
        gpu_memory (Callable[[int], float], optional): bytes by batch on a GPU, where
            the machine has none. Defaults to None.

    Returns:
        str: of several lines.
    """
    run, measured = plan.run, plan.measured
    several = f' ({run.batch * run.clips} clips)' if run.clips > 1 else ''
    unit = 'epochs' if run.by_epoch else 'iterations'
    update = f', {run.passes} steps an update' if run.passes > 1 else ''
    best, crops = plan.best_workers(), plan.crops_per_decode()
    reason, remedy = plan.bottleneck()
    rows = [
        ('machine', machine),
        (
            'data',
            f'{run.videos} videos in batches of {run.batch}{several}: '
            f'{run.steps} steps an epoch',
        ),
        (
            'run',
            f'{run.length} {unit}, {run.total_steps} steps{update}; '
            f'{run.validations} validations, {run.checkpoints} checkpoints',
        ),
        ('step', _step(plan)),
        (
            'loading',
            f'{measured.decode * 1e3:.3g} ms to decode a video and '
            f'{measured.transform * 1e3:.3g} ms for the rest, on one core: '
            f'{run.clips / (measured.decode + measured.transform):.3g} clips a second',
        ),
        (
            'workers',
            f'best num_workers={best} (now {run.workers}) of {measured.cores} cores; '
            f'crops a decode: {crops}'
            + (' (no more are needed)' if crops == 1 else ''),
        ),
        ('memory', _memory(plan)),
    ]
    if gpu_memory is not None:
        sizes = ', '.join(
            f'{largest_batch(gpu_memory, size * 1e9 - _CONTEXT)} in {size} GB'
            for size in (16, 24, 40, 80)
        )
        rows.append(
            (
                'on a GPU',
                f'predicted {_size(gpu_memory(run.batch))} at batch {run.batch}; '
                f'largest batch: {sizes}',
            )
        )
    validation = f', a validation {_seconds(measured.validation)}'
    rows += [
        ('bottleneck', f'{reason}' + (f'; change: {remedy}' if remedy else '')),
        (
            'besides',
            f'{_seconds(measured.startup)} before the run, {_seconds(measured.setup)} '
            f'at its start{validation * (run.validations > 0)}, a checkpoint '
            f'{_seconds(measured.pause)}',
        ),
    ]
    lines = [f'Plan of {title}', ''] + [f'{name:<11} {text}' for name, text in rows]
    return '\n'.join([*lines, '', *_table(plan, devices, price)])


def _step(plan: Plan) -> str:
    run, measured = plan.run, plan.measured
    count = measured.steps_measured
    text = f'{_seconds(measured.iteration)} with loading, '
    if measured.step != measured.iteration:  # else it was not measured
        text += f'{_seconds(measured.step)} without: '
    text += f'{plan.clips_per_second:.3g} clips a second'
    if measured.small_batch:
        fixed = step_seconds(measured, run.batch, 0)
        each = (measured.step - fixed) / run.batch
        text += f'; alone {_seconds(fixed)} and {_seconds(each)} a video'
    text += f'; {count} step{"s" * (count > 1)} measured'
    return f'{text}: rough' if count < _FEW else text


def _seconds(seconds: float) -> str:
    return f'{seconds:.2g} s' if seconds < 10 else f'{seconds:.0f} s'


_CONTEXT = 0.5e9  # of CUDA, which is not predicted


def _memory(plan: Plan) -> str:
    measured, batch = plan.measured, plan.run.batch
    room = measured.total_memory
    what = 'training process' if measured.is_cpu else 'peak'
    if measured.is_cpu:
        room -= measured.memory_per_worker * plan.run.workers
    largest = largest_batch(plan.memory_of, room)
    growing = [batch * k for k in (1, 2, 4, 8) if batch * k <= max(largest, batch)]
    sizes = ', '.join(f'{b}: {_size(plan.memory_of(b))}' for b in growing)
    workers = ''
    if measured.is_cpu and plan.run.workers:
        workers = f', each worker {_size(measured.memory_per_worker)} more'
    source = '' if measured.small_batch else ' (predicted from one batch)'
    return (
        f'{what} by batch {sizes}{source}{workers}; largest batch that fits '
        f'{_size(measured.total_memory)} (less {_MARGIN:.0%}): {largest}'
    )


def _size(size: float) -> str:
    return f'{size / 1e9:.3g} GB'


def _table(plan: Plan, devices: Sequence[int], price: float | None) -> list[str]:
    money = '       cost' if price is not None else ''
    rows = [f'devices    batch  steps/epoch      epoch    whole run{money}']
    for keep in (False, True):
        if keep:
            rows.append('  with the same videos an update:')
        for count in devices:
            if keep and count == 1:
                continue
            time = plan.time(count, keep)
            if time is None:
                why = (
                    f'{plan.run.batch} videos are not {count} equal parts'
                    if keep and plan.run.batch % count
                    else 'fewer videos than one batch of all'
                )
                rows.append(f'{count:>7}    {why}')
                continue
            row = (
                f'{count:>7}  {count:>2} x {time.batch:<4}{time.steps:>10}'
                f'{duration(time.epoch):>13}{duration(time.total):>13}'
            )
            if price is not None:
                cost = count * time.total / 3600 * price
                row += f'{cost:>11.2f}'
            rows.append(row)
    rows.append(
        'Several devices: each with as many CPU cores as this one; what they say to '
        'each other is not measured.'
    )
    if not plan.run.by_epoch:
        rows.append(
            f'The run has {plan.run.length} iterations on any number of devices: with '
            'more of them it reads as many times the videos.'
        )
    return rows


def duration(seconds: float) -> str:
    """Write seconds so that people can read them: 12.3 s, 4 min 10 s, 3 h, 2 d."""
    if seconds < 60:
        return f'{seconds:.3g} s'
    whole = round(seconds)
    for size, small, name, minor in (
        (86400, 3600, 'd', 'h'),
        (3600, 60, 'h', 'min'),
        (60, 1, 'min', 's'),
    ):
        if whole >= size:
            major, rest = divmod(whole, size)
            return f'{major} {name} {rest // small} {minor}'
    return f'{whole} s'
