"""Give ``tools/doctor.py`` runs with planted faults, and healthy ones.

Makes small videos and trains on them, one run at a time, about half a minute each; what
is there already is used again, so that an interrupted check goes on. Printed are the
tables of docs/doctor.md. Seven of the 20 healthy runs were used to choose thresholds,
the others were not looked at for that: the column "used for" says which.

    OMP_NUM_THREADS=1 python tools/benchmarks/doctor_check.py --out work_dirs/doctor
"""

import json
import os
import random
import runpy
import shutil
import sys
import time
import traceback
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs'
STEPS, BATCH = 24, 4  # of an epoch; videos of a step
NUM_TRAIN, NUM_VAL = STEPS * BATCH, 48
PRETRAIN, FINETUNE = 'demo/motion_pretrain.py', 'demo/motion_finetune.py'
# The square of the motion data needs longer runs than these to be understood, so that
# classifiers tell which color a video has most of.
CLASSES = 3


class Run(NamedTuple):
    """A run of ``tools/train.py``.

    Args:
        config (str): below ``configs``.
        options (tuple[str, ...]): of ``--cfg-options``; ``{data}`` is the folder of
            the videos, ``{runs}`` that of the runs.
        seed (int): of the run.
        fault (str): what is wrong, '' for a healthy run.
        patch (Callable, optional): changes the code of the run's process.
        fits (bool): a healthy run that thresholds were chosen with.
        cause (str): what the finding's cause has to contain.
    """

    config: str
    options: tuple[str, ...] = ()
    seed: int = 0
    fault: str = ''
    patch: Callable[[], None] | None = None
    fits: bool = False
    cause: str = ''


def _listed(name: str, split: str = 'train') -> str:
    return f'{split}_dataloader.dataset.ann_file={{data}}/{name}.txt'


_SMALL = (
    f'train_dataloader.batch_size={BATCH}',
    'train_dataloader.num_workers=1',
    'model.backbone.depth=2',
    'default_hooks.logger.interval=12',
    'train_cfg.max_epochs=6',
)
_SHORT = (
    *_SMALL,
    'model.decoder.depth=1',
    'val_dataloader.batch_size=24',
    'train_cfg.val_interval=6',
    'param_scheduler.0.end=1',
    'param_scheduler.1.begin=1',
)
_CLASSES = (
    f'model.cls_head.num_classes={CLASSES}',
    _listed('color_train'),
    _listed('color_val', 'val'),
    'val_dataloader.batch_size=24',
    'train_cfg.val_interval=3',
    *_SMALL,
)
# Recipes of 224 x 224 pixels at the size of the demo.
_TOY = (
    'model.backbone.img_size=32',
    'model.backbone.patch_size=8',
    'model.backbone.embed_dims=96',
    'model.backbone.num_heads=3',
    'model.decoder.embed_dims=64',
    'model.decoder.num_heads=2',
    'optim_wrapper.optimizer.lr=1e-3',
    'auto_scale_lr.enable=False',
    'default_hooks.checkpoint.interval=1',
    *(option for option in _SHORT if 'val_' not in option),
)
_FOLDER = (*_TOY, 'train_dataloader.dataset.data_prefix.video={data}/videos/train')
_LISTED = (
    *_TOY,
    _listed('train'),
    'train_dataloader.dataset.data_prefix.video={data}/videos',
)
_EVERY_FRAME = 'train_dataloader.dataset.pipeline.1.frame_interval=1'
_PRETRAINED = 'load_from={runs}/healthy_adaptive_0/epoch_6.pth'


def _raw_targets() -> None:
    from projects.adamae.models.losses.reconstruction_target import TokenTarget

    TokenTarget.forward = lambda self, patches, ids=None: patches.flatten(2)


def _slow_disk() -> None:
    from projects.adamae.datasets.transforms import PyAVSkipDecode

    transform = PyAVSkipDecode.transform

    def slow(self: PyAVSkipDecode, results: dict) -> dict:
        time.sleep(0.3)
        return transform(self, results)

    PyAVSkipDecode.transform = slow


def healthy_runs() -> dict[str, Run]:
    """List 20 runs in which nothing is wrong, of several recipes and seeds."""
    runs = {}
    for kind in ('', '_random', '_tube', '_frame', '_difference'):
        for seed in (0, 1):
            runs[f'healthy_{kind.strip("_") or "adaptive"}_{seed}'] = Run(
                f'demo/motion{kind}_pretrain.py',
                _SHORT,
                seed,
                fits=seed == 0 and kind not in ('_tube', '_frame'),
            )
    folder = 'adamae_vitb_folder_pretrain.py'
    for seed in (0, 1):
        options = (*_FOLDER, 'model.sampler.mask_ratio=0.9', _EVERY_FRAME)
        runs[f'healthy_folder_{seed}'] = Run(folder, options, seed, fits=seed == 0)
    runs['healthy_videomae_1'] = Run(
        'videomae_vitb_ssv2_pretrain.py', (*_LISTED, _EVERY_FRAME), 1
    )
    runs['healthy_raw_target_1'] = Run(
        'ablations/target_mse_raw.py',
        (*_LISTED, _EVERY_FRAME, 'model.sampler.mask_ratio=0.9'),
        1,
    )
    for seed in (0, 1, 2):
        runs[f'healthy_finetune_{seed}'] = Run(
            FINETUNE, (*_CLASSES, _PRETRAINED), seed, fits=seed == 0
        )
    runs['healthy_scratch_0'] = Run(FINETUNE, _CLASSES, 0, fits=True)
    for seed in (0, 1):
        runs[f'healthy_probe_{seed}'] = Run(
            'demo/motion_linear.py', (*_CLASSES, _PRETRAINED), seed, fits=seed == 0
        )
    return runs


def planted_runs() -> dict[str, Run]:
    """List runs with the twelve faults; some are planted in two ways."""

    def run(
        fault: str, cause: str, *options: str, config: str = PRETRAIN, **kwargs: object
    ) -> Run:
        base = _SHORT if config == PRETRAIN else _CLASSES
        return Run(config, (*base, *options), 3, fault, cause=cause, **kwargs)

    rate = 'optim_wrapper.optimizer.lr'
    return {
        '01_rate': run('learning rate x 10', 'learning rate', f'{rate}=1e-2'),
        '02_bgr': run('BGR', 'BGR', 'model.data_preprocessor.to_rgb=True'),
        '02_mean': run(
            'mean and std of [0, 1]',
            'mean',
            'model.data_preprocessor.mean=[0.485,0.456,0.406]',
            'model.data_preprocessor.std=[0.229,0.224,0.225]',
        ),
        '02_mean_order': run(
            'mean and std in the order BGR',
            'mean',
            'model.data_preprocessor.mean=[103.53,116.28,123.675]',
            'model.data_preprocessor.std=[57.375,57.12,58.395]',
        ),
        '03_target': run(
            'targets not normalized (option)', 'target', 'model.loss.norm_pix=False'
        ),
        '03_target_code': run(
            'targets not normalized (code)', 'target', patch=_raw_targets
        ),
        '04_labels': run(
            'shuffled labels',
            'label',
            _listed('shuffled'),
            _PRETRAINED,
            config=FINETUNE,
        ),
        '05_sampler': run(
            'frozen sampler (rate 0)',
            'sampler',
            'optim_wrapper.paramwise_cfg.custom_keys.sampler.lr_mult=0',
        ),
        '05_sampler_weight': run(
            'frozen sampler (no loss)', 'sampler', 'model.loss.sampling_weight=0'
        ),
        '06_static': run('static videos', 'static', _listed('static')),
        '07_listed': run('same videos, listed often', 'same', _listed('listed')),
        '07_copies': run('same videos, copied', 'same', _listed('copies')),
        '08_stride': run(
            'stride too long',
            'stride',
            'train_dataloader.dataset.pipeline.1.frame_interval=16',
        ),
        '09_collapse': run(
            'collapsed features', 'collapse', 'optim_wrapper.optimizer.weight_decay=30'
        ),
        '10_loader': run(
            'starving loader',
            'loader',
            'train_cfg.max_epochs=5',
            patch=_slow_disk,
        ),
        '11_warmup': run(
            'warm-up longer than the run',
            'warm-up',
            'param_scheduler.0.end=20',
            'param_scheduler.1.begin=5',
        ),
        '12_ratio': run('mask ratio 0.99', 'mask', 'model.sampler.mask_ratio=0.99'),
    }


def make_data(data: Path) -> None:
    """Write videos and lists; what is there is kept."""
    import numpy as np

    from projects.adamae.datasets.preparers import motion_videos
    from projects.adamae.video.reader import VideoReader
    from projects.adamae.video.writer import encode_video

    if (data / 'made').exists():
        return
    spec = motion_videos.MotionSpec(NUM_TRAIN, NUM_VAL, num_frames=40)
    motion_videos.make_dataset(data, spec)
    videos = data / 'videos'

    def write(name: str, lines: list[str]) -> None:
        (data / f'{name}.txt').write_text('\n'.join(lines) + '\n')

    colors = {}
    for split, count in (('train', NUM_TRAIN), ('val', NUM_VAL)):
        names = [f'{split}/{i:05d}.mp4' for i in range(count)]
        colors[split] = [
            VideoReader(str(videos / n)).get_frames([20])[0].mean((0, 1)) for n in names
        ]
        usual = np.mean(colors['train'], 0)
        labels = [
            int(np.argmax(c - c.mean() - usual + usual.mean())) for c in colors[split]
        ]
        lines = [f'{n} {label}' for n, label in zip(names, labels, strict=True)]
        write(f'color_{split}', lines)
        if split == 'train':
            random.Random(0).shuffle(labels)
            lines = [f'{n} {label}' for n, label in zip(names, labels, strict=True)]
            write('shuffled', lines)
    for folder in ('static', 'copies'):
        (videos / folder).mkdir(exist_ok=True)
    static, copies = [], []
    for i in range(NUM_TRAIN):
        source = videos / f'train/{i:05d}.mp4'
        frames = np.stack(VideoReader(str(source)).get_frames([0]))
        file = videos / f'static/{i:05d}.mp4'
        file.write_bytes(encode_video(frames.repeat(40, 0), 16))
        static.append(f'static/{i:05d}.mp4 0')
        shutil.copy(videos / f'train/{i % 8:05d}.mp4', videos / f'copies/{i:05d}.mp4')
        copies.append(f'copies/{i:05d}.mp4 0')
    write('static', static)
    write('copies', copies)
    write('listed', [f'train/{i % 8:05d}.mp4 0' for i in range(NUM_TRAIN)])
    (data / 'made').touch()


def in_child(work: Callable[[], None], log: Path) -> int:
    """Do something in a copy of this process, which has imported all; its exit code."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        work()
        code = 0
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def train(name: str, run: Run, data: Path, runs: Path) -> None:
    """Train, unless that has been done."""
    folder = runs / name
    done = folder / 'trained'
    if done.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    options = [
        o.replace('{data}', str(data)).replace('{runs}', str(runs)) for o in run.options
    ]
    start = time.time()

    def work() -> None:
        if run.patch:
            run.patch()
        tool = runpy.run_path(str(ROOT / 'tools/train.py'))
        tool['main'](
            [
                str(CONFIGS / run.config),
                f'--work-dir={folder}',
                f'--seed={run.seed}',
                *('--cfg-options', *options),
            ]
        )

    code = in_child(work, folder / 'printed.log')
    print(f'{name}: {time.time() - start:.0f} s, exit code {code}', flush=True)
    if not code or run.fault:  # a fault may end a run
        done.touch()


def ask(name: str, runs: Path) -> dict:
    """Ask the doctor about a run; what it said is kept in ``said.json``."""
    from projects.adamae.diagnosis import examine

    answer = runs / name / 'said.json'
    start = time.time()

    def work() -> None:
        answer.write_text(json.dumps(asdict(examine(runs / name))))

    answer.unlink(missing_ok=True)
    code = in_child(work, runs / name / 'doctor.log')
    if code:
        raise RuntimeError(f'{name}: the doctor failed, see {runs / name}/doctor.log')
    return {**json.loads(answer.read_text()), 'seconds': time.time() - start}


def tables(chosen: dict[str, Run], said: dict[str, dict]) -> str:
    """Write what was said in Markdown, and the range of what was measured."""
    rows = [
        '| planted fault | what the doctor said | evidence |',
        '| --- | --- | --- |',
    ]
    for name, run in chosen.items():
        if not run.fault:
            continue
        findings = [(c, e) for c, e, _ in said[name]['findings']]
        right = [(c, e) for c, e in findings if run.cause.lower() in c.lower()]
        others = [c for c, _ in findings if run.cause.lower() not in c.lower()]
        cause, evidence = right[0] if right else ('**not found**', '')
        more = f' (also: {"; ".join(others)})' if others else ''
        rows.append(f'| {run.fault} | {cause}{more} | {evidence} |')
    rows += [
        '',
        '| healthy run | seed | used for | loss or top-1 | findings | seconds |',
        '| --- | --- | --- | --- | --- | --- |',
    ]
    healthy = [name for name, run in chosen.items() if not run.fault]
    for name in healthy:
        run, answer = chosen[name], said[name]
        found = '; '.join(c for c, *_ in answer['findings']) or 'none'
        use = 'thresholds' if run.fits else 'the check'
        rows.append(
            f'| `{run.config}`{" pre-trained" * (_PRETRAINED in run.options)} | '
            f'{run.seed} | {use} | {answer["score"]} | {found} | '
            f'{answer["seconds"]:.0f} |'
        )
    rows += ['', '| measured | healthy, for thresholds | healthy, held out | planted |']
    rows.append('| --- | --- | --- | --- |')
    groups = (
        [n for n in healthy if chosen[n].fits],
        [n for n in healthy if not chosen[n].fits],
        [n for n in chosen if chosen[n].fault],
    )
    names = dict.fromkeys(k for a in said.values() for k in a['measured'])
    for key in names:
        cells = []
        for group in groups:
            values = [
                said[n]['measured'][key] for n in group if key in said[n]['measured']
            ]
            cells.append(f'{min(values):.3g} to {max(values):.3g}' if values else '')
        rows.append(f'| {key} | {" | ".join(cells)} |')
    return '\n'.join(rows)


def score(folder: Path) -> str:
    """Give the last loss of a pre-training or the last accuracy of a classifier."""
    from projects.adamae.analysis.scalar_logs import newest_metrics

    accuracy = newest_metrics(folder, 'acc/top1', {})
    if accuracy:
        return f'top-1 {accuracy["acc/top1"]:.1%}'
    return f'loss {newest_metrics(folder, "loss")["loss"]:.3f}'


def parse_args(argv: Sequence[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(
        description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, default=Path('work_dirs/doctor'))
    parser.add_argument(
        '--only', nargs='*', default=[''], help='runs whose names contain one of these'
    )
    parser.add_argument('--train', action='store_true', help='train, ask no doctor')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    # Before processes are forked: each would import it again.
    import torch.utils.tensorboard  # noqa: F401

    import projects.adamae.diagnosis  # noqa: F401

    out = args.out.resolve()
    data, runs = out / 'data', out / 'runs'
    os.environ['MOTION_DATA'] = str(data)
    runs.mkdir(parents=True, exist_ok=True)
    make_data(data)
    chosen = {
        name: run
        for name, run in {**healthy_runs(), **planted_runs()}.items()
        if any(part in name for part in args.only)
    }
    for name, run in chosen.items():
        train(name, run, data, runs)
    if args.train:
        return
    said = {n: {**ask(n, runs), 'score': score(runs / n)} for n in chosen}
    print(tables(chosen, said))


if __name__ == '__main__':
    main()
