"""The hook in real training runs, in one process and in two."""

import json

import pytest
import torch
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.runner import Runner
from torch.testing import assert_close

from projects.adamae.datasets import from_config
from projects.adamae.engine.hooks import KnnHook
from projects.adamae.evaluation import features
from projects.adamae.evaluation.knn import knn_accuracy
from tests.helpers import (
    fork_pair,
    tiny_model_cfg,
    video_dataset_cfg,
    write_videos,
)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('knn')
    lines = write_videos(root / 'videos', 7)
    (root / 'train.txt').write_text('\n'.join(lines))
    (root / 'val.txt').write_text('\n'.join(lines[:5]))
    return root


def hook_cfg(root, val='val.txt', num_workers=0, **options):
    return dict(
        type='KnnHook',
        train_dataset=video_dataset_cfg(root, 'train.txt', test_mode=True),
        val_dataset=video_dataset_cfg(root, val, test_mode=True),
        **dict(k=3, batch_size=2, num_workers=num_workers, **options),
    )


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
                dataset=video_dataset_cfg(root, 'train.txt'),
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


def logged(out):
    """Read what the hook gave to the visualizer."""
    (file,) = out.rglob('vis_data/scalars.json')
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [row for row in rows if 'knn/top1' in row]


def test_training_is_as_without_it(root, tmp_path):
    def train(name, hooks):
        Runner.from_cfg(train_cfg(root, tmp_path / name, hooks)).train()
        return torch.load(tmp_path / name / 'epoch_3.pth'), logged(tmp_path / name)

    plain, rows = train('plain', [])
    assert not rows
    hook = hook_cfg(root, num_workers=1, interval=2)
    evaluated, rows = train('evaluated', [hook])
    assert_close(evaluated['state_dict'], plain['state_dict'], rtol=0, atol=0)
    assert [row['step'] for row in rows] == [0, 2, 3], 'before, and then'
    history = evaluated['message_hub']['log_scalars']['knn/top1']
    assert history.data[0].tolist() == [row['knn/top1'] for row in rows]


def test_too_few_videos_are_told_before_training(root):
    cfg = {**hook_cfg(root), 'k': 8}
    cfg.pop('type')
    with pytest.raises(ValueError, match='from 1 to 7, .* got 8'):
        KnnHook(**cfg).before_train(None)
    with pytest.raises(ValueError, match='temperature: expected a positive .* got 0'):
        KnnHook(**cfg | dict(k=3, temperature=0)).before_train(None)


def test_two_processes_share_the_videos_and_the_error(root, tmp_path):
    """Seven and five videos: neither is a multiple of two. Then one is unreadable.

    Both processes have to say so, not one of them while the other waits for it.
    """
    (root / 'videos/bad.mp4').write_bytes(b'x' * 2000)
    (root / 'bad.txt').write_text(f'{(root / "val.txt").read_text()}\nbad.mp4 0')
    # CPython 3.11 can hang in a fork at the moment when a thread of PyTorch's process
    # group asks for the interpreter: no data workers here.
    cfg = train_cfg(root, tmp_path, [hook_cfg(root), hook_cfg(root, 'bad.txt')])
    model = MODELS.build(cfg.model).eval()
    cfg.load_from = str(tmp_path / 'start.pth')
    torch.save(dict(state_dict=model.state_dict()), cfg.load_from)
    cfg.dump(tmp_path / 'cfg.py')

    processes = fork_pair(tmp_path, 'train', tmp_path / 'cfg.py')
    # The second reads that video; it leaves the message to the first, for a launcher
    # to end it then.
    processes[0].join(180)
    for process in processes:
        process.kill()
    errors = (tmp_path / '0.txt').read_text()
    assert processes[0].exitcode == 2, errors
    assert 'Traceback' not in errors and 'bad.mp4: cannot be read' in errors, errors
    assert not list(tmp_path.glob('epoch_*.pth')), 'before training'

    sets = []
    for split in ('train', 'val'):
        dataset = DATASETS.build(hook_cfg(root)[f'{split}_dataset'])
        labels = from_config.names_and_labels(dataset)[1]
        sets += [features.extract(model, dataset, 7), torch.from_numpy(labels)]
    ((top1, top5),) = knn_accuracy(*sets, [3]).values()
    (row,) = logged(tmp_path)
    assert (row['knn/top1'], row['knn/top5'], row['step']) == (top1, top5, 0)


def test_a_loop_by_iteration_counts_iterations(root, tmp_path):
    """MMEngine's ends as one epoch, at whatever number of iterations."""
    cfg = train_cfg(root, tmp_path, [hook_cfg(root, interval=2)])
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=5)
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler')
    cfg.log_processor = dict(by_epoch=False)
    Runner.from_cfg(cfg).train()
    assert [row['step'] for row in logged(tmp_path)] == [0, 2, 4, 5]
    (log,) = tmp_path.rglob('*.log')
    assert 'Iter(knn) [4]' in log.read_text()
