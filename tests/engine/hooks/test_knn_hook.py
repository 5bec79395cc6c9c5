"""The hook in real training runs, in one process and in two."""

import json
import os
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from projects.adamae.apis.models import load_model
from projects.adamae.datasets import from_config
from projects.adamae.engine.hooks import KnnHook
from projects.adamae.evaluation import features
from projects.adamae.evaluation.knn import knn_accuracy
from tests.helpers import ROOT, free_port, tiny_model_cfg, write_videos


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('knn')
    lines = write_videos(root / 'videos', 7)
    (root / 'train.txt').write_text('\n'.join(lines))
    (root / 'val.txt').write_text('\n'.join(lines[:5]))
    return root


def dataset(root, split, **sample):
    return dict(
        type='VideoDataset',
        ann_file=str(root / f'{split}.txt'),
        data_prefix=dict(video=str(root / 'videos')),
        pipeline=[
            dict(type='DecordInit'),
            dict(type='SampleFrames', clip_len=8, **sample),
            dict(type='DecordDecode'),
            dict(type='Resize', scale=(16, 16), keep_ratio=False),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs'),
        ],
    )


def hook_cfg(root, **options):
    sets = {f'{s}_dataset': dataset(root, s, test_mode=True) for s in ('train', 'val')}
    return dict(type='KnnHook', **sets, k=3, batch_size=2, **options)


def train_cfg(root, out, hooks):
    """Three epochs of three steps."""
    return Config(
        dict(
            default_scope='mmaction',
            custom_imports=dict(imports=['projects.adamae']),
            model=tiny_model_cfg(),
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                drop_last=True,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=dataset(root, 'train'),
            ),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=3),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            randomness=dict(seed=0),
            custom_hooks=hooks,
            visualizer=dict(
                type='ActionVisualizer', vis_backends=[dict(type='LocalVisBackend')]
            ),
            work_dir=str(out),
            experiment_name=out.name,
        )
    )


def outcome(out):
    """Read the last checkpoint, and what the hook gave to the visualizer."""
    (file,) = out.rglob('vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    checkpoint = torch.load(out / 'epoch_3.pth')
    return checkpoint, [row for row in rows if 'knn/top1' in row]


def test_training_is_as_without_it(root, tmp_path):
    def train(name, hooks):
        Runner.from_cfg(train_cfg(root, tmp_path / name, hooks)).train()
        return outcome(tmp_path / name)

    plain, rows = train('plain', [])
    assert not rows
    judged, rows = train('judged', [hook_cfg(root, interval=2)])
    for name, weight in plain['state_dict'].items():
        assert torch.equal(weight, judged['state_dict'][name]), name
    assert [row['step'] for row in rows] == [0, 2, 3], 'before, and then'
    history = judged['message_hub']['log_scalars']['knn/top1']
    assert history.data[0].tolist() == [row['knn/top1'] for row in rows]


def train_in_two_processes(cfg, folder):
    """Returns the processes, ended, each with what it wrote to stderr."""
    # CPython 3.11 can hang in a fork at the moment when a thread of PyTorch's process
    # group asks for the interpreter: no data workers here.
    for hook in cfg.custom_hooks:
        hook['num_workers'] = 0
    cfg.dump(folder / 'cfg.py')
    env = dict(os.environ, OMP_NUM_THREADS='1', MASTER_ADDR='127.0.0.1')
    env.update(MASTER_PORT=free_port(), WORLD_SIZE='2')
    command = [sys.executable, '-W', 'ignore', ROOT / 'tools/train.py']
    command += [folder / 'cfg.py', '--launcher', 'pytorch']
    running = [
        subprocess.Popen(
            command,
            env=dict(env, RANK=rank, LOCAL_RANK=rank),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in '01'
    ]
    return [(process, process.communicate(timeout=180)[1]) for process in running]


def test_shares_of_two_processes_make_one_result(root, tmp_path):
    """Seven and five videos: neither is a multiple of two."""
    cfg = train_cfg(root, tmp_path, [hook_cfg(root)])
    results = train_in_two_processes(cfg, tmp_path)
    assert [process.returncode for process, _ in results] == [0, 0], results
    _, (_, row) = outcome(tmp_path)
    for split in ('train', 'val'):
        cfg[f'{split}_dataloader'] = dict(dataset=dataset(root, split, test_mode=True))
    init_default_scope('mmaction')
    model = load_model(cfg, str(tmp_path / 'epoch_3.pth'))
    sets = []
    for split in ('train', 'val'):
        videos = from_config.build_dataset(cfg, split, model.backbone.clip_size)
        labels = from_config.names_and_labels(videos)[1]
        sets += [features.extract(model, videos, 7), torch.from_numpy(labels)]
    ((top1, top5),) = knn_accuracy(*sets, [3]).values()
    assert (row['knn/top1'], row['knn/top5'], row['step']) == (top1, top5, 3)


def test_too_few_videos_are_told_before_training(root):
    cfg = {**hook_cfg(root), 'k': 8}
    cfg.pop('type')
    with pytest.raises(ValueError, match='from 1 to 7, .* got 8'):
        KnnHook(**cfg).before_train(None)
    with pytest.raises(ValueError, match='temperature: expected a positive .* got 0'):
        KnnHook(**cfg | dict(k=3, temperature=0)).before_train(None)


def test_unreadable_video_is_told_before_training_by_every_process(root, tmp_path):
    """Not by one of them while the other waits for it."""
    (root / 'videos/bad.mp4').write_bytes(b'x' * 2000)
    lines = (root / 'val.txt').read_text()
    (root / 'val_bad.txt').write_text(f'{lines}\nbad.mp4 0')
    hook = hook_cfg(root)
    hook['val_dataset']['ann_file'] = str(root / 'val_bad.txt')
    cfg = train_cfg(root, tmp_path, [hook])
    results = train_in_two_processes(cfg, tmp_path)
    for process, output in results:
        assert process.returncode and 'bad.mp4: cannot be read' in output
    assert not list(tmp_path.glob('epoch_*.pth'))
