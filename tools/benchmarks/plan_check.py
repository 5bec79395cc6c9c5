"""Compare plans with real runs: seconds and peak memory, on this machine.

Plan and run alternate, so that a busy hour meets both: one run, a plan, a run, and so
on. The videos are generated. Printed is a table for docs/benchmarks.md. Its last column
has the CPU cores that other work took meanwhile: more than some tenths of one make a
row worthless.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools'
# Runs the tool of its first argument, and tells what came after "Start of the run".
TIMED = """
import runpy, sys, time
from mmengine.runner import Runner
from projects.adamae import launch
from projects.adamae.launch import measuring
build, train, begun = launch.build_runner, Runner.train, []
def built(*args):
    runner = build(*args)
    begun.append(time.perf_counter())
    return runner
def timed(runner):
    train(runner)
    import torch
    peak = measuring.peak_resident()
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_reserved()
    print(f'TOOK {time.perf_counter() - begun[0]} PEAK {peak}', flush=True)
launch.build_runner, Runner.train = built, timed
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


class Setting(NamedTuple):
    """A run to plan.

    Args:
        config (str): below ``configs``.
        options (tuple[str, ...]): of ``--cfg-options``.
        videos (str): ``'motion'``, or ``'large'``, of 240 x 428 pixels.
        loop (str): the config's ``train_cfg``; '' for its own.
    """

    config: str
    options: tuple[str, ...] = ()
    videos: str = 'motion'
    loop: str = ''


_FOLDER = (
    'model.backbone.img_size=64',
    'model.backbone.embed_dims=96',
    'model.backbone.depth=4',
    'model.backbone.num_heads=3',
    'model.decoder.embed_dims=64',
    'model.decoder.depth=2',
    'model.decoder.num_heads=2',
    'train_dataloader.batch_size=4',
    'param_scheduler=None',
    'train_cfg.max_epochs=3',
)
_SHORT = (
    'train_dataloader.dataset.indices=480',
    'val_dataloader.dataset.indices=100',
    'train_cfg.max_epochs=3',
    'param_scheduler=None',
)
SETTINGS = {
    'pre-training, 2 workers': Setting('demo/motion_pretrain.py', _SHORT),
    'fine-tuning': Setting('demo/motion_finetune.py', _SHORT),
    'folder, 0 workers': Setting(
        'adamae_vitb_folder_pretrain.py',
        (*_FOLDER, 'train_dataloader.num_workers=0'),
        'large',
    ),
    'folder, 2 workers': Setting(
        'adamae_vitb_folder_pretrain.py',
        (*_FOLDER, 'train_dataloader.num_workers=2'),
        'large',
    ),
    'loader-bound': Setting(
        'adamae_vitb_folder_pretrain.py',
        (
            *_FOLDER,
            'train_dataloader.num_workers=1',
            'model.backbone.depth=1',
            'model.decoder.depth=1',
        ),
        'large',
    ),
    'compute-bound': Setting(
        'demo/motion_pretrain.py',
        (
            *_SHORT,
            'model.backbone.depth=12',
            'model.backbone.embed_dims=192',
            'train_cfg.max_epochs=1',
        ),
    ),
    'accumulation, iterations': Setting(
        'demo/motion_pretrain.py',
        (
            'val_dataloader.dataset.indices=100',
            'optim_wrapper.accumulative_counts=4',
            'log_processor.by_epoch=False',
            'default_hooks.checkpoint.by_epoch=False',
            'default_hooks.checkpoint.interval=50',
            'train_dataloader.batch_size=8',
        ),
        loop="dict(_delete_=True, type='ResumableIterTrainLoop', max_iters=90, "
        'val_interval=50)',
    ),
}


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('--settings', nargs='+', choices=SETTINGS, default=[*SETTINGS])
    parser.add_argument('--rounds', type=int, default=1, help='plans of each setting')
    parser.add_argument('--seconds', type=int, default=30, help='of each plan')
    parser.add_argument(
        '--videos',
        default=os.path.join(tempfile.gettempdir(), 'adamae-plan-videos'),
        help='folder of the generated videos (default: %(default)s)',
    )
    return parser.parse_args(argv)


def call(*command: object, **env: str) -> str:
    """Run a command from the root, and give its output."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get('PYTHONPATH'))))
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': path, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f'{command} ended with {done.returncode}: {done.stdout}')
    return done.stdout


def other_work() -> float:
    """Seconds that all CPU cores have worked, but for what was called here."""
    try:
        user, nice, system = Path('/proc/stat').read_text().split()[1:4]
    except OSError:  # only Linux tells
        return 0.0
    ticks = int(user) + int(nice) + int(system)
    own = sum(os.times()[:4])
    return ticks / os.sysconf('SC_CLK_TCK') - own


def write_data(folder: Path) -> None:
    """Write the demo's videos, and a folder of large ones; kept if they are there."""
    if not (folder / 'motion/train.txt').exists():
        call(TOOLS / 'make_motion_dataset.py', folder / 'motion')
    if not (folder / 'large').exists():
        sys.path.insert(0, str(ROOT))
        import loading_pipelines as loading

        loading.write_videos(folder / 'part', loading.KINDS[0], 24)
        for path in sorted((folder / 'part').iterdir()):
            for index in range(9):
                os.link(path, folder / 'part' / f'{index}-{path.name.split("-", 1)[1]}')
        (folder / 'part').rename(folder / 'large')


def compare(name: str, args: Namespace, folder: Path) -> str:
    """Plan and run in turn; gives a row of the table."""
    setting, data = SETTINGS[name], Path(args.videos)
    options = list(setting.options)
    if setting.videos == 'large':
        options.append(f'train_dataloader.dataset.data_prefix.video={data / "large"}')
    config = folder / 'setting.py'
    text = f'_base_ = {str(ROOT / "configs" / setting.config)!r}\n'
    if setting.loop:
        text += f'train_cfg = {setting.loop}\nparam_scheduler = None\n'
    config.write_text(text)
    env = dict(MOTION_DATA=str(data / 'motion'))
    predicted, measured, others = [], [], []
    for number in range(2 * args.rounds + 1):
        before = other_work()
        begin = time.perf_counter()
        if number % 2:
            report = folder / 'plan.json'
            call(
                *(TOOLS / 'plan.py', config, '--seconds', args.seconds),
                *('--json', report, '--cfg-options', *options),
                **env,
            )
            plan = json.loads(report.read_text())
            total = plan['times']['same_batch'][0]['total']
            predicted.append((total, plan['measured']['memory']))
        else:
            output = call(
                *('-c', TIMED, TOOLS / 'train.py', config, '--overwrite'),
                *('--work-dir', folder / 'run', '--cfg-options', *options),
                **env,
            )
            found = re.search(r'TOOK (\S+) PEAK (\d+)', output)
            assert found, output
            measured.append((float(found[1]), int(found[2])))
        others.append((other_work() - before) / (time.perf_counter() - begin))
    (planned, memory), (real_time, real_memory) = (
        [median(values) for values in zip(*pairs, strict=True)]
        for pairs in (predicted, measured)
    )
    runs = [seconds for seconds, _ in measured]
    low, high = min(runs), max(runs)
    return (
        f'| {name} | {planned:.1f} | {real_time:.1f} ({low:.1f} to {high:.1f}) '
        f'| {planned / real_time - 1:+.0%} | {memory / 1e9:.2f} '
        f'| {real_memory / 1e9:.2f} | {memory / real_memory - 1:+.0%} '
        f'| {max(others):.1f} |'
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    args = parse_args(argv)
    write_data(Path(args.videos))
    print(
        '| run | planned, s | real, s (range) | error | planned, GB | real, GB | error '
        '| others |'
    )
    print('| --- | --- | --- | --- | --- | --- | --- | --- |', flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in args.settings:
            print(compare(name, args, Path(folder)), flush=True)


if __name__ == '__main__':
    main()
