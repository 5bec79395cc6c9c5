"""Compare ways of pre-training on the motion data set, over several seeds.

For each config and seed: pre-train, then classify held-back videos by k-NN, by a linear
probe and by fine-tuning; fine-tuning from scratch beside them. What is already there is
used again, so that an interrupted study goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from projects.adamae.study import SCRATCH, newest_metrics, table  # noqa: E402

DEMO = ROOT / 'configs/demo'
FINETUNE, LINEAR = DEMO / 'motion_finetune.py', DEMO / 'motion_linear.py'


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--pretrain',
        nargs='+',
        type=Path,
        metavar='CONFIG',
        default=[DEMO / 'motion_pretrain.py', DEMO / 'motion_random_pretrain.py'],
        help='ways of pre-training (default: the adaptive and the random one)',
    )
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--data', type=Path, default=Path('data/motion'))
    parser.add_argument('--out', type=Path, default=Path('work_dirs/study'))
    parser.add_argument('--jobs', type=int, default=2, help='runs at a time')
    return parser.parse_args(argv)


def run(tool: str, *arguments: str | Path, log: Path) -> str:
    """Run one of our tools; returns what it printed, which is also in the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, '-W', 'ignore', ROOT / 'tools' / tool, *arguments]
    done = subprocess.run(
        [*map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    log.write_text(done.stdout)
    if done.returncode:
        last = '\n'.join(done.stdout.splitlines()[-15:])
        raise RuntimeError(f'{tool} failed, see {log}:\n{last}')
    return done.stdout


def train(config: Path, work_dir: Path, seed: int, *options: str) -> Path:
    """Train, or use what is there; returns the last checkpoint."""
    epochs = Config.fromfile(config).train_cfg.max_epochs
    checkpoint = work_dir / f'epoch_{epochs}.pth'
    if not checkpoint.exists():
        resume = ['--resume'] if (work_dir / 'last_checkpoint').exists() else []
        options = ('--cfg-options', *options) if options else ()
        arguments = [config, f'--work-dir={work_dir}', f'--seed={seed}', *resume]
        run('train.py', *arguments, *options, log=work_dir / 'printed.log')
    return checkpoint


def judge(way: str, config: Path | None, seed: int, out: Path) -> dict[str, float]:
    """Pre-train with one config and seed and judge the outcome."""
    out = out / way.replace(' ', '_') / str(seed)
    summary = out / 'results.json'
    if summary.exists():
        return json.loads(summary.read_text())
    results: dict[str, float] = {}
    start = []
    if config:
        pretrained = train(config, out / 'pretrain', seed)
        start = [f'load_from={pretrained}']
        masking = newest_metrics(out / 'pretrain', 'masking/reconstruction')
        results['reconstruction'] = masking['masking/reconstruction']
        results['enrichment'] = masking['masking/enrichment']
        arguments = [config, pretrained, '--data', FINETUNE]
        printed = run('knn_eval.py', *arguments, log=out / 'knn/printed.log')
        results['k-NN'] = float(re.findall(r'^20 +([\d.]+)%', printed, re.M)[0]) / 100
        train(LINEAR, out / 'linear', seed, *start)
        results['linear'] = newest_metrics(out / 'linear', 'acc/top1')['acc/top1']
    tuned = train(FINETUNE, out / 'finetune', seed, *start)
    arguments = [FINETUNE, tuned, f'--work-dir={out / "test"}']
    run('test.py', *arguments, log=out / 'test/printed.log')
    results['fine-tuned'] = newest_metrics(out / 'test', 'acc/top1')['acc/top1']
    summary.write_text(json.dumps(results))
    return results


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    os.environ['MOTION_DATA'] = str(args.data)
    if not (args.data / 'dataset.json').exists():
        sys.exit(f'error: no data set in {args.data}; see tools/make_motion_dataset.py')
    ways: dict[str, Path | None] = {path.stem: path for path in args.pretrain}
    ways[SCRATCH] = None
    plan = [(way, config, seed) for seed in args.seeds for way, config in ways.items()]
    results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    with ThreadPoolExecutor(args.jobs) as pool:
        runs = {pool.submit(judge, *job, args.out): job for job in plan}
        for done, future in enumerate(as_completed(runs), start=1):
            way, _, seed = runs[future]
            try:
                result = future.result()
            except RuntimeError as error:
                pool.shutdown(cancel_futures=True)
                sys.exit(f'error: {way}, seed {seed}: {error}')
            results[way].append(result)
            print(f'{done} of {len(plan)}: {way}, seed {seed}: {result}', flush=True)
    text = table(results)
    (args.out / 'table.md').write_text(text + '\n')
    print(text)


if __name__ == '__main__':
    main()
