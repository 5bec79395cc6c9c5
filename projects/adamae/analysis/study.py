"""Compare methods of pre-training: the same runs for each, over several seeds."""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from math import ceil
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock
from typing import NamedTuple, TypeAlias

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed

from projects.adamae_command import tool_name
from projects.adamae_files import CONFIGS, TOOLS

from ..datasets.from_config import iter_datasets
from ..datasets.unreadable import UnreadableVideos
from ..utils.cpu import KEEP_FREED_MEMORY
from ..utils.fileio import atomic_path
from .scalar_logs import newest_metrics

FINETUNE = CONFIGS / 'demo/motion_finetune.py'
LINEAR = CONFIGS / 'demo/motion_linear.py'
#: Columns of the judges.
KNN, PROBE, FINE_TUNED = 'k-NN', 'linear', 'fine-tuned'

#: For each method the results of its seeds, by name. Names may be missing.
Results: TypeAlias = dict[str, list[dict[str, float]]]
#: What needs no learning: for each column the accuracies in [0, 1], by name.
Levels: TypeAlias = Mapping[str, Mapping[str, float]]

# The device of the tools that a thread runs, and its cores.
_PLACE: ContextVar[Mapping[str, str]] = ContextVar('place')
_SEED_LOCK = Lock()  # one generator for all threads
# Processes of the tools that run, and whether no other may start.
_RUNNING: set[int] = set()
_IS_OVER = Event()
_START_LOCK = Lock()


class Method(NamedTuple):
    """A method of pre-training.

    Attributes:
        name (str): of the folder.
        config (Path, optional): None is no encoder but that of fine-tuning.
        options (tuple[str, ...]): ``--cfg-options``.
        pretrains (bool): False judges the encoder as it is initialized.
        label (str): in the table. Defaults to the name.
    """

    name: str
    config: Path | None = None
    options: tuple[str, ...] = ()
    pretrains: bool = True
    label: str = ''

    @property
    def title(self) -> str:
        """What people read."""
        return self.label or self.name


SCRATCH = Method('from scratch', pretrains=False)


class Judges(NamedTuple):
    """Configs of what is done with an encoder to learn how good it is.

    Attributes:
        knn (Path, optional): its training videos classify the others by k-NN.
        probe (Path, optional): of a linear probe.
        finetune (Path, optional): of fine-tuning.
        k (int): neighbors. Defaults to 20.
    """

    knn: Path | None = None
    probe: Path | None = None
    finetune: Path | None = None
    k: int = 20


class Failure(NamedTuple):
    """A run that failed.

    Attributes:
        method (Method): how it was pre-trained.
        seed (int): of the run.
        reason (str): in one line.
        log (str): its last lines.
    """

    method: Method
    seed: int
    reason: str
    log: str = ''


class RunError(RuntimeError):
    """A tool failed; ``log`` are its last lines."""

    def __init__(self, reason: str, log: str) -> None:
        super().__init__(reason)
        self.log = log


class Cost(NamedTuple):
    """What a process and its data workers took; does not depend on the machine's load.

    Attributes:
        cpu_seconds (float): of all cores together.
        peak_mib (float): largest resident memory of one process.
    """

    cpu_seconds: float
    peak_mib: float


def visible_devices() -> list[str]:
    """List the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them.

    Returns:
        list[str]: none without a GPU.
    """
    count = torch.cuda.device_count()
    named = os.environ.get('CUDA_VISIBLE_DEVICES')
    return named.split(',')[:count] if named else [*map(str, range(count))]


def run_study(
    methods: Sequence[Method],
    seeds: Sequence[int],
    out: Path,
    jobs: int,
    judges: Judges,
) -> tuple[Results, list[Failure]]:
    """Evaluate every method with every seed, and print each result.

    Runs that take place at a time share the cores, and have a GPU each as long as there
    are enough. One that fails does not keep the others from running. What ends this
    function early, such as Ctrl-C, tells those that run to save and end, too.

    Args:
        methods (Sequence[Method]): to compare.
        seeds (Sequence[int]): of pre-training and fine-tuning.
        out (Path): folder of the runs. What is already there is used again.
        jobs (int): runs at a time.
        judges (Judges): that evaluate the encoders.

    Returns:
        tuple[Results, list[Failure]]: results of all seeds, by the title of the
        method, and what failed.
    """
    plan = [(method, seed) for seed in seeds for method in methods]
    found: dict[Method, dict[int, dict[str, float]]] = {m: {} for m in methods}
    failures = []
    places: SimpleQueue[dict[str, str]] = SimpleQueue()
    devices = visible_devices()
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    for job in range(jobs):
        place = {'OMP_NUM_THREADS': str(threads)}
        if devices:
            place['CUDA_VISIBLE_DEVICES'] = devices[job % len(devices)]
        places.put(place)

    def run(method: Method, seed: int) -> dict[str, float]:
        place = places.get()
        _PLACE.set(place)
        try:
            return evaluate(method, seed, out, judges)
        finally:
            places.put(place)

    _IS_OVER.clear()
    with ThreadPoolExecutor(jobs) as pool, _ended_early(pool):
        runs = {pool.submit(run, *job): job for job in plan}
        for done, future in enumerate(as_completed(runs), start=1):
            method, seed = runs[future]
            progress = f'{done} of {len(plan)}: {method.title}, seed {seed}'
            try:
                result = future.result()
            except Exception as error:  # whatever it is, the others are worth hours
                known = isinstance(error, RuntimeError | OSError)
                reason = f'{error}' if known else f'{type(error).__name__}: {error}'
                log = getattr(error, 'log', '')
                failures.append(Failure(method, seed, reason, log))
                print(f'{progress}: failed: {reason}', flush=True)
                continue
            found[method][seed] = result
            print(f'{progress}: {result}', flush=True)
    # In the order of the seeds, whichever ended first.
    results = {
        method.title: [runs[seed] for seed in seeds if seed in runs]
        for method, runs in found.items()
    }
    return results, failures


@contextmanager
def _ended_early(pool: ThreadPoolExecutor) -> Iterator[None]:
    """Start nothing more, and tell the tools that run to end, if this is left early."""
    try:
        yield
    except BaseException:
        with _START_LOCK:
            _IS_OVER.set()
        pool.shutdown(wait=False, cancel_futures=True)
        for process in [*_RUNNING]:
            with suppress(ProcessLookupError):  # one that has just ended
                os.kill(process, signal.SIGTERM)
        raise


def evaluate(method: Method, seed: int, out: Path, judges: Judges) -> dict[str, float]:
    """Pre-train with one method and one seed, and evaluate the encoder.

    Args:
        method (Method): how to pre-train.
        seed (int): of all runs.
        out (Path): folder of the study.
        judges (Judges): that evaluate the encoder.

    Returns:
        dict[str, float]: reconstruction error and enrichment, where the config measures
        them, accuracies in [0, 1] and cost, by the names of the table's columns.
    """
    out = out / method.name.replace(' ', '_') / str(seed)
    summary = out / 'results.json'
    known: dict[str, float] = (
        json.loads(summary.read_text()) if summary.exists() else {}
    )
    wanted = [FINE_TUNED] if judges.finetune else []
    if method.config:
        wanted += [KNN] * bool(judges.knn) + [PROBE] * bool(judges.probe)
    other = {KNN, PROBE, FINE_TUNED}.difference(wanted)
    if known.keys() >= {*wanted}:
        return {name: value for name, value in known.items() if name not in other}
    results: dict[str, float] = {}
    start: Path | None = None
    if method.pretrains and method.config:
        start = train(method.config, out / 'pretrain', seed, *method.options)
        masking = newest_metrics(out / 'pretrain', 'masking/reconstruction', {})
        for name in ('reconstruction', 'enrichment'):
            if f'masking/{name}' in masking:
                results[name] = masking[f'masking/{name}']
    elif method.config:
        start = initialize(method.config, out / 'initial.pth', seed)
    if start and KNN in wanted:
        assert method.config and judges.knn
        if KNN not in known:
            known[KNN] = _knn(method.config, start, judges, out / 'knn/printed.log')
    if start and PROBE in wanted:
        assert judges.probe
        if PROBE not in known:
            tuned = train(judges.probe, out / 'linear', seed, f'load_from={start}')
            known[PROBE] = _accuracy(judges.probe, tuned, out / 'linear', 'val')
    if judges.finetune and FINE_TUNED not in known:
        # Also where the config names weights to start with.
        option = f'load_from={start if method.pretrains else None}'
        tuned = train(judges.finetune, out / 'finetune', seed, option)
        known[FINE_TUNED] = _accuracy(judges.finetune, tuned, out / 'finetune', 'test')
    results |= {n: known[n] for n in (KNN, PROBE, FINE_TUNED) if n in known}
    cost = out / 'pretrain/cost.json'
    if cost.exists():
        spent = Cost(**json.loads(cost.read_text()))
        results['CPU minutes'] = spent.cpu_seconds / 60
        results['peak MiB'] = spent.peak_mib
    _write(summary, results)
    return {name: value for name, value in results.items() if name not in other}


def _knn(config: Path, checkpoint: Path, judges: Judges, log: Path) -> float:
    """Classify by neighbors, without the videos that cannot be read."""
    arguments = [config, checkpoint, '--data', judges.knn, '--k', judges.k]
    run_tool('knn_eval.py', *arguments, log=log, succeeds=(0, 1))
    text = log.read_text()
    accuracy = re.findall(rf'^{judges.k} +([\d.]+)%', text, re.M)
    if not accuracy:
        raise RunError(f'{tool_name("knn_eval.py")} failed, see {log}', _tail(text))
    return float(accuracy[0]) / 100


def judged_split(cfg: Config, preferred: str) -> str | None:
    """Say which videos judge a classifier.

    Args:
        cfg (Config): of a classifier.
        preferred (str): ``'val'``, what the last validation of training says, or
            ``'test'``, what ``tools/test.py`` says.

    Returns:
        str, optional: that or, where the config lacks it, the other one; None if it
        has neither.
    """
    for split in (preferred, *{'val', 'test'}.difference([preferred])):
        if all(cfg.get(f'{split}_{k}') for k in ('dataloader', 'cfg', 'evaluator')):
            return split
    return None


def _accuracy(config: Path, checkpoint: Path, work_dir: Path, preferred: str) -> float:
    """Read or measure the accuracy of a classifier that is trained."""
    cfg = Config.fromfile(config)
    if judged_split(cfg, preferred) == 'test':
        name = {'val': 'linear_test', 'test': 'test'}[preferred]
        work_dir = work_dir.parent / name
        arguments = [config, checkpoint, f'--work-dir={work_dir}']
        kinds = [
            DATASETS.get(part['type'])
            if isinstance(part['type'], str)
            else part['type']
            for _, part in iter_datasets(cfg.test_dataloader['dataset'])
        ]
        if all(isinstance(k, type) and issubclass(k, UnreadableVideos) for k in kinds):
            arguments.append('--skip-unreadable')  # wrong with every strategy
        run_tool('test.py', *arguments, log=work_dir / 'printed.log')
    return newest_metrics(work_dir, 'acc/top1')['acc/top1']


def initialize(config: Path, path: Path, seed: int) -> Path:
    """Write a checkpoint of the model of a config as it is before training.

    Args:
        config (Path): of pre-training.
        path (Path): of the checkpoint; one that is there is kept.
        seed (int): of the weights.

    Returns:
        Path: the same.
    """
    if not path.exists():
        cfg = Config.fromfile(config)
        init_default_scope(cfg.get('default_scope', 'mmaction'))
        path.parent.mkdir(parents=True, exist_ok=True)
        with _SEED_LOCK, quiet():
            set_random_seed(seed)
            model = MODELS.build(cfg.model)
            model.init_weights()
        part = path.with_suffix('.part')
        torch.save(dict(state_dict=model.state_dict(), meta={}), part)
        part.replace(path)
    return path


@contextmanager
def quiet(least: str = 'WARNING') -> Iterator[None]:
    """Keep to itself what MMEngine tells of every weight of a model.

    Args:
        least (str): level of what is told nevertheless. Defaults to ``'WARNING'``.
    """
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(least)
    try:
        yield
    finally:
        logger.setLevel(level)


def final_checkpoint(cfg: Config) -> str:
    """Name the checkpoint that a training run ends with.

    Args:
        cfg (Config): of the run, by epochs or by iterations.

    Returns:
        str: name of the file.
    """
    epochs = cfg.train_cfg.get('max_epochs')
    return f'epoch_{epochs}.pth' if epochs else f'iter_{cfg.train_cfg.max_iters}.pth'


def train(config: Path, work_dir: Path, seed: int, *options: str) -> Path:
    """Train, go on with an interrupted run, or use what is there.

    Args:
        config (Path): of the run.
        work_dir (Path): of the run; ``cost.json`` is written there.
        seed (int): of the run.
        *options (str): ``--cfg-options``.

    Returns:
        Path: the last checkpoint.
    """
    checkpoint = work_dir / final_checkpoint(Config.fromfile(config))
    if not checkpoint.exists():
        is_new = not any(work_dir.glob('*.pth'))
        options = ('--cfg-options', *options) if options else ()
        arguments = [config, f'--work-dir={work_dir}', f'--seed={seed}', '--resume']
        log = work_dir / 'printed.log'
        cost = run_tool('train.py', *arguments, *options, log=log)
        if is_new:  # of an interrupted run only the last part is known
            _write(work_dir / 'cost.json', cost._asdict())
    return checkpoint


def _write(path: Path, content: Mapping[str, float]) -> None:
    with atomic_path(path) as unfinished:  # half of it would end the next start
        Path(unfinished).write_text(json.dumps(content))


def run_tool(
    tool: str, *arguments: object, log: Path, succeeds: Sequence[int] = (0,)
) -> Cost:
    """Run one of our tools.

    Args:
        tool (str): its file below ``tools``.
        *arguments (object): of its command line, as text.
        log (Path): file of what it prints.
        succeeds (Sequence[int]): exit codes that are no failure. Defaults to (0,).

    Returns:
        Cost: of the process and its data workers.

    Raises:
        RunError: if the tool fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, '-W', 'ignore', TOOLS / tool, *arguments]
    with _START_LOCK, log.open('w') as file:
        if _IS_OVER.is_set():
            raise RunError(f'{tool} was not started', '')
        process = subprocess.Popen(
            [*map(str, command)],
            stdout=file,
            stderr=subprocess.STDOUT,
            # Several runs at a time: memory that is kept, cores that are shared.
            env={**os.environ, **KEEP_FREED_MEMORY, **_PLACE.get({})},
        )
        _RUNNING.add(process.pid)
    try:
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        _RUNNING.discard(process.pid)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in succeeds:
        raise RunError(f'{tool} failed, see {log}', _tail(log.read_text()))
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _tail(text: str) -> str:
    return '\n'.join(text.splitlines()[-15:])


def _columns(results: Results) -> list[str]:
    """Names of all results, in order of appearance."""
    runs = [run for runs in results.values() for run in runs]
    return list(dict.fromkeys(name for run in runs for name in run))


def table(results: Results, levels: Levels | None = None) -> str:
    """Write results as a Markdown table: mean and standard deviation over seeds.

    Args:
        results (Results): to show.
        levels (Levels, optional): become rows below them.

    Returns:
        str: one row per method, one column per name.
    """
    columns, levels = _columns(results), levels or {}
    rows = [
        '| pre-training | seeds | ' + ' | '.join(columns) + ' |',
        '| --- ' * (len(columns) + 2) + '|',
    ]
    for method, runs in results.items():
        cells = [method, str(len(runs))]
        for name in columns:
            values = [run[name] for run in runs if name in run]
            cell = f'{statistics.mean(values):.3f}' if values else ''
            if len(values) > 1:
                cell += f' ± {statistics.stdev(values):.3f}'
            cells.append(cell)
        rows.append('| ' + ' | '.join(cells) + ' |')
    for level in dict.fromkeys(name for part in levels.values() for name in part):
        known = [levels.get(column, {}).get(level) for column in columns]
        cells = ['' if value is None else f'{value:.3f}' for value in known]
        rows.append('| ' + ' | '.join([level, '', *cells]) + ' |')
    return '\n'.join(rows)


def plot(results: Results, path: str | Path, levels: Levels | None = None) -> Figure:
    """Draw results: one panel per name, one row per method, a dot per seed, the mean.

    Args:
        results (Results): to show.
        path (str | Path): of the picture.
        levels (Levels, optional): become dashed lines, with their names in a legend.

    Returns:
        Figure: the same.
    """
    columns, levels = _columns(results), levels or {}
    wide = min(4, len(columns))
    rows = ceil(len(columns) / 4)
    # Inches: names stand left of the panels, which are never too narrow for a title.
    names = max(map(len, results)) * 0.085
    height = rows * (0.8 + 0.3 * len(results)) + (0.35 if levels else 0)
    figure = Figure(figsize=(max(12 * wide / 4 - 1.5, 4) + names, height))
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, wide, sharey=True, squeeze=False)
    for axis in axes.flat[len(columns) :]:
        axis.set_visible(False)
    colors = {
        name: f'C{number}'
        for number, name in enumerate(
            dict.fromkeys(name for part in levels.values() for name in part), start=1
        )
    }
    lines = {}
    for axis, name in zip(axes.flat, columns, strict=False):
        for row, runs in enumerate(results.values()):
            values = [run[name] for run in runs if name in run]
            if values:
                axis.plot(values, [row] * len(values), 'o', color='C0', alpha=0.5)
                axis.plot(statistics.mean(values), row, '|', color='k', markersize=16)
        for level, value in levels.get(name, {}).items():
            lines[level] = axis.axvline(value, color=colors[level], linestyle='--')
        axis.set_title(name)
        axis.grid(axis='x', alpha=0.3)
        axis.set_yticks(range(len(results)), results)
    axes[0, 0].set_ylim(len(results) - 0.5, -0.5)
    figure.tight_layout(rect=(0, 0.35 / height if lines else 0, 1, 1))
    if lines:
        figure.legend(
            lines.values(), lines, loc='lower center', ncols=len(lines), frameon=False
        )
    figure.savefig(path, dpi=100)
    return figure
