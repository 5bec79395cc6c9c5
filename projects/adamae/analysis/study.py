"""Compare methods of pre-training: the same runs for each, over several seeds."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from math import ceil
from pathlib import Path
from typing import NamedTuple, TypeAlias

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.config import Config

from ..utils.cpu import KEEP_FREED_MEMORY

ROOT = Path(__file__).resolve().parents[3]
FINETUNE = ROOT / 'configs/demo/motion_finetune.py'
LINEAR = ROOT / 'configs/demo/motion_linear.py'

#: For each method the results of its seeds, by name. Names may be missing.
Results: TypeAlias = dict[str, list[dict[str, float]]]


class Method(NamedTuple):
    """A method of pre-training.

    Attributes:
        name (str): in the table, and of the folder.
        config (Path, optional): None is no pre-training at all.
        options (tuple[str, ...]): ``--cfg-options``.
    """

    name: str
    config: Path | None = None
    options: tuple[str, ...] = ()


SCRATCH = Method('from scratch')


class Cost(NamedTuple):
    """What a process and its data workers took; does not depend on the machine's load.

    Attributes:
        cpu_seconds (float): of all cores together.
        peak_mib (float): largest resident memory of one process.
    """

    cpu_seconds: float
    peak_mib: float


def run_study(
    methods: Sequence[Method], seeds: Sequence[int], out: Path, jobs: int
) -> Results:
    """Evaluate every method with every seed, and print each result.

    Args:
        methods (Sequence[Method]): to compare.
        seeds (Sequence[int]): of pre-training and fine-tuning.
        out (Path): folder of the runs. What is already there is used again.
        jobs (int): runs at a time.

    Returns:
        Results: of all seeds, by the name of the method.

    Raises:
        RuntimeError: if a run fails.
    """
    plan = [(method, seed) for seed in seeds for method in methods]
    results: Results = {method.name: [] for method in methods}
    with ThreadPoolExecutor(jobs) as pool:
        runs = {pool.submit(evaluate, *job, out): job for job in plan}
        for done, future in enumerate(as_completed(runs), start=1):
            method, seed = runs[future]
            try:
                result = future.result()
            except RuntimeError as error:
                pool.shutdown(cancel_futures=True)
                raise RuntimeError(f'{method.name}, seed {seed}: {error}') from error
            results[method.name].append(result)
            print(
                f'{done} of {len(plan)}: {method.name}, seed {seed}: {result}',
                flush=True,
            )
    return results


def evaluate(method: Method, seed: int, out: Path) -> dict[str, float]:
    """Pre-train with one method and one seed, and evaluate the encoder.

    Args:
        method (Method): how to pre-train.
        seed (int): of all runs.
        out (Path): folder of the study.

    Returns:
        dict[str, float]: reconstruction error, enrichment, accuracies in [0, 1] and
        cost, by the names of the table's columns.
    """
    out = out / method.name.replace(' ', '_') / str(seed)
    summary = out / 'results.json'
    if summary.exists():
        return json.loads(summary.read_text())
    results: dict[str, float] = {}
    start = []
    if method.config:
        pretrained = train(method.config, out / 'pretrain', seed, *method.options)
        start = [f'load_from={pretrained}']
        masking = newest_metrics(out / 'pretrain', 'masking/reconstruction')
        results['reconstruction'] = masking['masking/reconstruction']
        results['enrichment'] = masking['masking/enrichment']
        log = out / 'knn/printed.log'
        run_tool('knn_eval.py', method.config, pretrained, '--data', FINETUNE, log=log)
        accuracy = re.findall(r'^20 +([\d.]+)%', log.read_text(), re.M)[0]
        results['k-NN'] = float(accuracy) / 100
        train(LINEAR, out / 'linear', seed, *start)
        results['linear'] = newest_metrics(out / 'linear', 'acc/top1')['acc/top1']
    tuned = train(FINETUNE, out / 'finetune', seed, *start)
    test = out / 'test'
    arguments = [FINETUNE, tuned, f'--work-dir={test}']
    run_tool('test.py', *arguments, log=test / 'printed.log')
    results['fine-tuned'] = newest_metrics(test, 'acc/top1')['acc/top1']
    cost = out / 'pretrain/cost.json'
    if cost.exists():
        spent = Cost(**json.loads(cost.read_text()))
        results['CPU minutes'] = spent.cpu_seconds / 60
        results['peak MiB'] = spent.peak_mib
    summary.write_text(json.dumps(results))
    return results


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
    epochs = Config.fromfile(config).train_cfg.max_epochs
    checkpoint = work_dir / f'epoch_{epochs}.pth'
    if not checkpoint.exists():
        is_new = not any(work_dir.glob('*.pth'))
        options = ('--cfg-options', *options) if options else ()
        arguments = [config, f'--work-dir={work_dir}', f'--seed={seed}', '--resume']
        log = work_dir / 'printed.log'
        cost = run_tool('train.py', *arguments, *options, log=log)
        if is_new:  # of an interrupted run only the last part is known
            (work_dir / 'cost.json').write_text(json.dumps(cost._asdict()))
    return checkpoint


def run_tool(tool: str, *arguments: object, log: Path) -> Cost:
    """Run one of our tools.

    Args:
        tool (str): its file below ``tools``.
        *arguments (object): of its command line, as text.
        log (Path): file of what it prints.

    Returns:
        Cost: of the process and its data workers.

    Raises:
        RuntimeError: if the tool fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, '-W', 'ignore', ROOT / 'tools' / tool, *arguments]
    with log.open('w') as file:
        process = subprocess.Popen(
            [*map(str, command)],
            stdout=file,
            stderr=subprocess.STDOUT,
            # Several runs at a time: one thread each, and memory that is kept.
            env={**os.environ, **KEEP_FREED_MEMORY, 'OMP_NUM_THREADS': '1'},
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last = '\n'.join(log.read_text().splitlines()[-15:])
        raise RuntimeError(f'{tool} failed, see {log}:\n{last}')
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def newest_metrics(work_dir: str | Path, key: str) -> dict[str, float]:
    """Read the last line of MMEngine's scalar logs that holds a metric.

    Args:
        work_dir (str | Path): of a run.
        key (str): name of the metric, such as ``'acc/top1'``.

    Returns:
        dict[str, float]: that line.

    Raises:
        FileNotFoundError: if no log in the folder holds the metric.
    """
    # MMEngine's names, the second of a test: a report has a file of another kind.
    names = 'scalars.json', '[0-9]*_[0-9]*.json'
    files = [path for name in names for path in Path(work_dir).rglob(name)]
    logs = sorted(files, key=lambda p: p.stat().st_mtime)
    rows = [json.loads(row) for log in logs for row in log.read_text().splitlines()]
    found = [row for row in rows if key in row]
    if not found:
        raise FileNotFoundError(f'{work_dir}: no log here holds {key}')
    return found[-1]


def _columns(results: Results) -> list[str]:
    """Names of all results, in order of appearance."""
    runs = [run for runs in results.values() for run in runs]
    return list(dict.fromkeys(name for run in runs for name in run))


def table(results: Results) -> str:
    """Write results as a Markdown table: mean and standard deviation over seeds.

    Args:
        results (Results): to show.

    Returns:
        str: one row per method, one column per name.
    """
    columns = _columns(results)
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
    return '\n'.join(rows)


def plot(results: Results, path: str | Path) -> Figure:
    """Draw results: one panel per name, one row per method, a dot per seed, the mean.

    Args:
        results (Results): to show.
        path (str | Path): of the picture.

    Returns:
        Figure: the same.
    """
    columns = _columns(results)
    rows = ceil(len(columns) / 4)
    figure = Figure(figsize=(12, rows * (0.8 + 0.3 * len(results))))
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, min(4, len(columns)), sharey=True, squeeze=False)
    for axis in axes.flat[len(columns) :]:
        axis.set_visible(False)
    for axis, name in zip(axes.flat, columns, strict=False):
        for row, runs in enumerate(results.values()):
            values = [run[name] for run in runs if name in run]
            if values:
                axis.plot(values, [row] * len(values), 'o', color='C0', alpha=0.5)
                axis.plot(statistics.mean(values), row, '|', color='k', markersize=16)
        axis.set_title(name)
        axis.grid(axis='x', alpha=0.3)
        axis.set_yticks(range(len(results)), results)
    axes[0, 0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    return figure
