"""Compare settings of fine-tuning where few videos have a label.

In the generated videos a square leaves the middle in one of several directions, which
are the classes. A table names those of the first few videos and of a test list;
tools/new_dataset.py writes the configs; these are run with a small model, from scratch,
and changed one setting at a time. Goes on where it was interrupted. Printed is a table
for docs/benchmarks.md.
"""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from itertools import product
from math import cos, pi, sin
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from projects.adamae_arguments import COUNT

ROOT = Path(__file__).resolve().parents[2]
# At the end, one look at the test list and at the training list.
TOY = """\
_base_ = {base!r}
model = dict(
    backbone=dict(patch_size=8, embed_dims=96, depth=2, num_heads=3),
    cls_head=dict(in_channels=96),
)
optim_wrapper = dict(paramwise_cfg=dict(num_layers=2))
train_cfg = dict(max_epochs={epochs}, val_interval={epochs})
train_dataloader = dict(num_workers=1, dataset=dict(ann_file={train!r}))
val_dataloader = dict(num_workers=1, batch_size=50, dataset=dict(ann_file={val!r}))
dump = dict(type='ClassificationReport', out_dir={out!r})
val_evaluator = [dict(type='AccMetric'), dump]
default_hooks = dict(checkpoint=dict(interval={epochs}, save_best=None))
randomness = dict(seed={seed})
"""
STRONG = """
train = [
    _base_.init,
    _base_.clip,
    _base_.decode,
    dict(
        _base_.for_all_frames,
        transforms=[_base_.swap, _base_.rand_augment, _base_.swap],
    ),
    _base_.random_resized_crop,
    _base_.resize,
    _base_.flip,
    dict(_base_.for_all_frames, transforms=[_base_.random_erasing]),
    *_base_.pack,
]
train_dataloader['dataset']['pipeline'] = train
"""
CROP = """
train = [
    _base_.init,
    _base_.clip,
    _base_.decode,
    _base_.random_resized_crop,
    _base_.resize,
    _base_.flip,
    *_base_.pack,
]
train_dataloader['dataset']['pipeline'] = train
"""
BLEND = """
model['data_preprocessor'] = dict(
    blending=dict(
        _delete_=True,
        type='RandomBatchAugment',
        augments=[
            dict(type='MixupBlending', alpha=0.8, num_classes=2),
            dict(type='CutmixBlending', alpha=1.0, num_classes=2),
        ],
    )
)
"""
SMOOTH = """
model['cls_head']['label_smooth_eps'] = 0.1
"""
# 1e-3 at 256 clips.
LINEAR = """
optim_wrapper['optimizer'] = dict(lr=1e-3)
auto_scale_lr = dict(base_batch_size=256)
"""
RATE = """
optim_wrapper['optimizer'] = dict(lr={} * _base_.optim_wrapper.optimizer.lr)
"""
DECAY = """
optim_wrapper['paramwise_cfg']['decay_rate'] = {}
"""
DROP = """
model['backbone']['drop_path_rate'] = {}
"""
PUBLISHED = STRONG + BLEND + SMOOTH + LINEAR
#: Name of a setting to the lines that make it of the recommended one.
VARIANTS = {
    'recommended': '',
    'published': PUBLISHED,
    'published, recommended rate': STRONG + BLEND + SMOOTH,
    'light, linear rate': LINEAR,
    'with RandAugment, erasing, small crops': STRONG,
    'with small crops': CROP,
    'with Mixup and CutMix': BLEND,
    'with smoothing': SMOOTH,
    'a quarter of the rate': RATE.format(0.25),
    '4 times the rate': RATE.format(4),
    '16 times the rate': RATE.format(16),
    'no layer decay': DECAY.format(1.0),
    'layer decay 0.9': DECAY.format(0.9),
    'drop path 0': DROP.format(0.0),
    'drop path 0.2': DROP.format(0.2),
}


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('out', help='folder of videos, runs and results')
    parser.add_argument('--classes', type=COUNT, default=3)
    parser.add_argument(
        '--train',
        type=COUNT,
        nargs='+',
        default=[60, 200, 600],
        metavar='N',
        help='videos with a label (default: %(default)s)',
    )
    parser.add_argument('--variants', nargs='+', default=[*VARIANTS], choices=VARIANTS)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--steps', type=COUNT, help='of a run at most (default: as recommended)'
    )
    parser.add_argument('--test', type=COUNT, default=300, help='videos of the test')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the comparison."""
    args = parse_args(argv)
    out = Path(args.out).resolve()
    folder = make_videos(args, out)
    results = out / 'results.jsonl'
    for videos in args.train:
        write_configs(args, out, folder, videos)
        for seed, variant in product(args.seeds, args.variants):
            key = [args.classes, videos, variant, args.steps, seed]
            if all(row['key'] != key for row in read(results)):
                row = finetune(args, out, videos, variant, seed)
                with results.open('a') as file:
                    file.write(json.dumps(dict(key=key, **row)) + '\n')
    print(table(read(results), args.test))


def make_videos(args: Namespace, out: Path) -> Path:
    """Write train/NUMBER.mp4 and test/NUMBER.mp4; the classes take turns."""
    from projects.adamae.video.writer import encode_video

    folder = out / f'videos{args.classes}'
    for split, count in (('train', max(args.train)), ('test', args.test)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            path = folder / split / f'{number:05d}.mp4'
            if not path.exists():
                seed = [len(split), number]
                path.write_bytes(encode_video(draw(seed, number, args.classes), 16))
    return folder


def draw(seed: Sequence[int], number: int, classes: int) -> np.ndarray:
    """Draw a video, uint8 (12, 32, 32, 3): all but the direction is random."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(90, 120, (5, 5, 3), dtype=np.uint8)
    background = np.kron(coarse, np.ones((7, 7, 1), np.uint8))[:32, :32]
    frames = np.repeat(background[None], 12, axis=0)
    side, color = rng.integers(8, 11), rng.integers(200, 256, 3)
    start, speed = rng.uniform(9, 15, 2), rng.uniform(0.6, 1.2)
    angle = 2 * pi * (number % classes) / classes
    for step, frame in enumerate(frames):
        row, column = start + step * speed * np.array([sin(angle), cos(angle)])
        top, left = max(round(row), 0), max(round(column), 0)
        frame[top : top + side, left : left + side] = color
    return frames


def write_configs(args: Namespace, out: Path, folder: Path, videos: int) -> None:
    """Let tools/new_dataset.py write lists and configs of a table of labels."""
    name = f'motion{args.classes}_{videos}'
    if (out / f'configs/{name}_finetune.py').exists():
        return
    rows = [('path', 'label', 'split')]
    for split, count in (('train', videos), ('test', args.test)):
        for number in range(count):
            label = direction(number % args.classes, args.classes)
            rows.append((f'{split}/{number:05d}.mp4', label, split))
    with (out / f'{name}.csv').open('w', newline='') as file:
        csv.writer(file).writerows(rows)
    run(
        *(ROOT / 'tools/new_dataset.py', name, '--videos', folder),
        *('--labels', out / f'{name}.csv'),
        cwd=out,
    )
    data = out / 'data' / name
    (data / 'test_and_train.txt').write_text(
        (data / 'test.txt').read_text() + (data / 'train.txt').read_text()
    )


def direction(label: int, classes: int) -> str:
    """Name the motion of a class, for up to 8 of them."""
    angle = 2 * pi * label / classes
    across = {-1: 'left', 0: '', 1: 'right'}[round(1.2 * cos(angle))]
    along = {-1: 'up', 0: '', 1: 'down'}[round(1.2 * sin(angle))]
    return f'{along} {across}'.strip()


def finetune(
    args: Namespace, out: Path, videos: int, variant: str, seed: int
) -> dict[str, float]:
    """Train a variant; measure it on the test videos and the training videos."""
    name = f'motion{args.classes}_{videos}'
    written = (out / f'configs/{name}_finetune.py').read_text()
    (batch,) = map(int, re.findall(r'batch_size=(\d+),  # per', written))
    (epochs,) = map(int, re.findall(r'max_epochs=(\d+)', written))
    epochs = min(epochs, (args.steps or 10**9) // (videos // batch))
    work_dir, report = out / 'work', out / 'report'
    shutil.rmtree(work_dir, ignore_errors=True)
    shutil.rmtree(report, ignore_errors=True)
    data = out / 'data' / name
    lines = TOY.format(
        base=f'configs/{name}_finetune.py',
        epochs=epochs,
        train=str(data / 'train.txt'),
        val=str(data / 'test_and_train.txt'),
        out=str(report),
        seed=seed,
    )
    (out / 'variant.py').write_text(lines + VARIANTS[variant])
    start = time.perf_counter()
    run(ROOT / 'tools/train.py', 'variant.py', '--work-dir', work_dir, cwd=out)
    content = json.loads((report / 'predictions.json').read_text('utf-8'))
    correct = [int(video['correct']) for video in content['predictions']]
    log = '\n'.join(path.read_text() for path in work_dir.glob('*/*.log'))
    losses = re.findall(r'Epoch\(train\).* loss: ([\d.]+)', log)
    return dict(
        test=mean(correct[: args.test]),
        train=mean(correct[args.test :]),
        loss=float(losses[-1]),
        steps=epochs * (videos // batch),
        seconds=round(time.perf_counter() - start),
    )


def read(results: Path) -> list[dict]:
    """Read the results of all runs so far."""
    lines = results.read_text().splitlines() if results.exists() else []
    return [json.loads(line) for line in lines]


def table(rows: Sequence[dict], test: int) -> str:
    """Make a table of all results; ± is the standard error of the mean over seeds."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault(tuple(row['key'][:-1]), []).append(row)
    lines = [
        '| classes | videos | setting | steps | runs | training | test |',
        '| --- ' * 7 + '|',
    ]
    for (classes, videos, variant, _), group in sorted(
        groups.items(), key=lambda item: item[0][:2]
    ):
        cells = [classes, videos, variant, group[0]['steps'], len(group)]
        cells += [percent([row[name] for row in group]) for name in ('train', 'test')]
        lines.append(f'| {" | ".join(map(str, cells))} |')
    error = 100 * (0.25 / test) ** 0.5
    minutes = sum(row['seconds'] for row in rows) / 60
    return '\n'.join(lines) + (
        f'\n\n{test} test videos: the standard error of an accuracy of 50% is '
        f'{error:.1f} points. {minutes:.0f} minutes of training.'
    )


def percent(shares: Sequence[float]) -> str:
    """Give mean and standard error."""
    text = f'{100 * mean(shares):.1f}%'
    if len(shares) > 1:
        text += f' ± {100 * stdev(shares) / len(shares) ** 0.5:.1f}'
    return text


def run(*command: object, cwd: Path) -> None:
    """Run a tool with one thread."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f'{command[0]}: {done.stderr[-2000:]}')


if __name__ == '__main__':
    main()
