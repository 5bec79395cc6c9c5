"""Compare ways of pre-training on the motion data set, over several seeds.

For each config and seed: pre-train, then classify held-back videos by k-NN, by a linear
probe and by fine-tuning; fine-tuning from scratch beside them. What is already there is
used again, so that an interrupted study goes on where it stopped. The outcome is
OUT/table.md and OUT/plot.png.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from argparse import (
    ArgumentParser,
    ArgumentTypeError,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config

from projects.adamae.analysis.study import SCRATCH, newest_metrics, plot, table
from projects.adamae.utils.cpu import KEEP_FREED_MEMORY

ROOT = Path(__file__).resolve().parents[1]

DEMO = ROOT / 'configs/demo'
FINETUNE, LINEAR = DEMO / 'motion_finetune.py', DEMO / 'motion_linear.py'


class Way(NamedTuple):
    """A way of pre-training.

    Attributes:
        name (str): in the table, and of the folder.
        config (Path, optional): None is no pre-training at all.
        options (tuple[str, ...]): ``--cfg-options``.
    """

    name: str
    config: Path | None = None
    options: tuple[str, ...] = ()


class Cost(NamedTuple):
    """What a process and its data workers took; does not depend on the machine's load.

    Attributes:
        cpu_seconds (float): of all cores together.
        peak_mib (float): largest resident memory of one process.
    """

    cpu_seconds: float
    peak_mib: float


def way(text: str) -> Way:
    """Read ``CONFIG`` or ``CONFIG@RATIO`` from the command line."""
    path, _, ratio = text.partition('@')
    config = Path(path)
    if not config.is_file():
        raise ArgumentTypeError(f'{path}: no such config')
    options = (f'model.sampler.mask_ratio={ratio}',) if ratio else ()
    return Way(config.stem + (ratio and f' {ratio}'), config, options)


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--pretrain',
        nargs='+',
        type=way,
        metavar='CONFIG[@RATIO]',
        default=[Way(p.stem, p) for p in sorted(DEMO.glob('*_pretrain.py'))],
        help='ways of pre-training, with their own mask ratio or another one '
        '(default: every configs/demo/*_pretrain.py)',
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--data', type=Path, default=Path('data/motion'))
    parser.add_argument('--out', type=Path, default=Path('work_dirs/study'))
    parser.add_argument('--jobs', type=int, default=2, help='runs at a time')
    return parser.parse_args(argv)


def run(tool: str, *arguments: str | Path, log: Path) -> Cost:
    """Run one of our tools; what it prints is added to the log.

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


def train(config: Path, work_dir: Path, seed: int, *options: str) -> Path:
    """Train, or use what is there; returns the last checkpoint."""
    epochs = Config.fromfile(config).train_cfg.max_epochs
    checkpoint = work_dir / f'epoch_{epochs}.pth'
    if not checkpoint.exists():
        resume = ['--resume'] if (work_dir / 'last_checkpoint').exists() else []
        options = ('--cfg-options', *options) if options else ()
        arguments = [config, f'--work-dir={work_dir}', f'--seed={seed}', *resume]
        cost = run('train.py', *arguments, *options, log=work_dir / 'printed.log')
        if not resume:  # of an interrupted run only the last part is known
            (work_dir / 'cost.json').write_text(json.dumps(cost._asdict()))
    return checkpoint


def judge(way: Way, seed: int, out: Path) -> dict[str, float]:
    """Pre-train in one way with one seed and judge the outcome."""
    out = out / way.name.replace(' ', '_') / str(seed)
    summary = out / 'results.json'
    if summary.exists():
        return json.loads(summary.read_text())
    results: dict[str, float] = {}
    start = []
    if way.config:
        pretrained = train(way.config, out / 'pretrain', seed, *way.options)
        start = [f'load_from={pretrained}']
        masking = newest_metrics(out / 'pretrain', 'masking/reconstruction')
        results['reconstruction'] = masking['masking/reconstruction']
        results['enrichment'] = masking['masking/enrichment']
        arguments = [way.config, pretrained, '--data', FINETUNE]
        run('knn_eval.py', *arguments, log=out / 'knn/printed.log')
        printed = (out / 'knn/printed.log').read_text()
        results['k-NN'] = float(re.findall(r'^20 +([\d.]+)%', printed, re.M)[0]) / 100
        train(LINEAR, out / 'linear', seed, *start)
        results['linear'] = newest_metrics(out / 'linear', 'acc/top1')['acc/top1']
    tuned = train(FINETUNE, out / 'finetune', seed, *start)
    arguments = [FINETUNE, tuned, f'--work-dir={out / "test"}']
    run('test.py', *arguments, log=out / 'test/printed.log')
    results['fine-tuned'] = newest_metrics(out / 'test', 'acc/top1')['acc/top1']
    cost = out / 'pretrain/cost.json'
    if cost.exists():
        spent = Cost(**json.loads(cost.read_text()))
        results['CPU minutes'] = spent.cpu_seconds / 60
        results['peak MiB'] = spent.peak_mib
    summary.write_text(json.dumps(results))
    return results


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    os.environ['MOTION_DATA'] = str(args.data)
    if not (args.data / 'dataset.json').exists():
        sys.exit(f'error: no data set in {args.data}; see tools/make_motion_dataset.py')
    ways = [*args.pretrain, Way(SCRATCH)]
    plan = [(way, seed) for seed in args.seeds for way in ways]
    results: dict[str, list[dict[str, float]]] = {way.name: [] for way in ways}
    with ThreadPoolExecutor(args.jobs) as pool:
        runs = {pool.submit(judge, *job, args.out): job for job in plan}
        for done, future in enumerate(as_completed(runs), start=1):
            way, seed = runs[future]
            try:
                result = future.result()
            except RuntimeError as error:
                pool.shutdown(cancel_futures=True)
                sys.exit(f'error: {way.name}, seed {seed}: {error}')
            results[way.name].append(result)
            print(f'{done} of {len(plan)}: {way.name}, seed {seed}: {result}')
            sys.stdout.flush()
    text = table(results)
    (args.out / 'table.md').write_text(text + '\n')
    plot(results, args.out / 'plot.png')
    print(text)


if __name__ == '__main__':
    main()
