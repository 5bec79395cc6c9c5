"""Curves and pictures of real training runs, in one process and in two."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.runner import EpochBasedTrainLoop, Runner
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.testing import assert_close

from projects.adamae.analysis.health import rankme, sampling_curves
from projects.adamae.datasets.fixed_videos import FixedVideos
from projects.adamae.engine.hooks import (
    FeatureHealthHook,
    HealthCurvesHook,
    PretrainVisualizationHook,
)
from projects.adamae.evaluation.features import extract
from projects.adamae.models.tokens import TrainingStep
from tests.helpers import (
    start_pair,
    tiny_model_cfg,
    video_dataset_cfg,
    write_videos,
)

HOOKS = [
    dict(type='HealthCurvesHook', interval=2),
    dict(
        type='FeatureHealthHook',
        num_videos=8,
        interval=1,
        batch_size=2,
        num_workers=0,
    ),
    dict(type='PretrainVisualizationHook', num_videos=1, interval=2),
]


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('health')
    lines = write_videos(root / 'videos', 8)
    (root / 'train.txt').write_text('\n'.join(lines))
    (root / 'videos/bad.mp4').write_bytes(b'x' * 2000)
    (root / 'bad.txt').write_text('\n'.join([*lines[:3], 'bad.mp4 0', *lines[3:]]))
    return root


def train_cfg(root, out, hooks, **options):
    """Three epochs of four steps."""
    backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    cfg = dict(
        default_scope='mmaction',
        custom_imports=dict(imports=['projects.adamae']),
        model=tiny_model_cfg(),
        train_dataloader=dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=video_dataset_cfg(root, 'train.txt'),
        ),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        randomness=dict(seed=0),
        custom_hooks=hooks,
        visualizer=dict(type='ActionVisualizer', vis_backends=backends),
        work_dir=str(out),
        experiment_name=out.name,
    )
    return Config({**cfg, **options})


def logged(out):
    """What hooks gave to the visualizer: by name, the step and the number."""
    (file,) = out.rglob('vis_data/scalars.json')
    found = {}
    for row in map(json.loads, file.read_text().splitlines()):
        for name in row:
            if name.startswith('health/'):
                found.setdefault(name, []).append((row['step'], row[name]))
    return found


def test_a_run_has_curves_and_pictures_and_is_the_same(root, tmp_path):
    Runner.from_cfg(train_cfg(root, tmp_path / 'plain', [])).train()
    Runner.from_cfg(train_cfg(root, tmp_path / 'watched', HOOKS)).train()
    plain, watched = (
        torch.load(tmp_path / name / 'epoch_3.pth') for name in ('plain', 'watched')
    )
    assert_close(watched['state_dict'], plain['state_dict'], rtol=0, atol=0)
    scalars = logged(tmp_path / 'watched')
    assert scalars.keys() == {
        f'health/{name}'
        for name in (
            *('entropy', 'effective_tokens', 'top5_share', 'error_correlation'),
            *(f'probability_time_{i}' for i in range(4)),
            'probability_distance_0',
            *('rankme', 'rankme_layer_1', 'knn_top1'),
        )
    }
    for name, rows in scalars.items():
        by_epoch = 'rankme' in name or 'knn' in name
        expected = [1, 2, 3] if by_epoch else [2, 4, 6, 8, 10, 12]
        assert [step for step, _ in rows] == expected, name
        assert np.isfinite([value for _, value in rows]).all()
    for _, value in scalars['health/probability_distance_0']:
        assert value == pytest.approx(1, abs=1e-5), 'all four positions'
    (log,) = (tmp_path / 'watched').rglob('*.log')
    text = log.read_text()
    assert 'Iter(health) [2]  health/entropy: ' in text
    assert 'Epoch(health) [3]  health/rankme: ' in text

    # Every second epoch and the last one, in every backend.
    pictures = {f'masked_video_0_{step}.png' for step in (2, 3)}
    (folder,) = (tmp_path / 'watched').rglob('vis_image')
    assert {path.name for path in folder.iterdir()} == pictures
    (events,) = (tmp_path / 'watched').rglob('events.*')
    board = EventAccumulator(str(events), size_guidance=dict(images=0))
    board.Reload()
    assert board.Tags()['images'] == ['masked_video_0']
    assert [e.step for e in board.Images('masked_video_0')] == [2, 3]
    assert scalars.keys() <= {*board.Tags()['scalars']}


def test_numbers_are_those_of_the_features_and_a_bad_video_is_left_out(root, tmp_path):
    """And pictures of a model that learns nothing stay the same."""
    cfg = train_cfg(
        root,
        tmp_path,
        [*HOOKS[:2], dict(HOOKS[2], num_videos=3, interval=1)],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
        val_dataloader=dict(dataset=video_dataset_cfg(root, 'bad.txt', test_mode=True)),
        val_cfg=dict(type='ValLoop'),
        val_evaluator=[],
    )
    cfg.train_cfg.update(max_epochs=2, val_begin=9)
    cfg.custom_hooks[1].num_videos = 9
    runner = Runner.from_cfg(cfg)
    runner.train()
    model = runner.model.eval()
    cfg.val_dataloader.dataset.ann_file = str(root / 'train.txt')
    features = extract(model, FixedVideos(cfg, 8, (8, 16, 16)), 4)
    scalars = logged(tmp_path)
    value = rankme(features)
    close = pytest.approx(value, rel=1e-3)
    assert scalars['health/rankme'] == [(1, close), (2, close)]
    # Of three videos the second is the bad one.
    for video in (0, 2):
        first, second = sorted(tmp_path.rglob(f'vis_image/masked_video_{video}_*.png'))
        assert (np.array(Image.open(first)) == np.array(Image.open(second))).all()
    assert not [*tmp_path.rglob('masked_video_1_*')]
    (log,) = tmp_path.rglob('*.log')
    text = log.read_text()
    assert 'bad.mp4: expected a readable video' in text
    assert text.count('1 of 9 videos cannot be read') == 1


def fake_runner(step, iteration=0):
    model = MODELS.build(tiny_model_cfg())
    model.last_step = step
    told = []
    visualizer = SimpleNamespace(add_scalars=lambda s, step: told.append((step, s)))
    return told, SimpleNamespace(
        model=model,
        hooks=[],
        iter=iteration,
        train_dataloader=[None] * 10,
        visualizer=visualizer,
        logger=SimpleNamespace(info=lambda _: None, warning=lambda _: None),
    )


def random_step(clips):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(clips, 16, generator=generator)
    ids = torch.rand(clips, 16, generator=generator).argsort(1)[:, :12]
    error = torch.rand(clips, 12, generator=generator)
    return TrainingStep(error, ids, logits.log_softmax(1))


def test_a_checkpoint_comes_after_what_was_measured():
    """A run that goes on from it would not measure that again."""
    step = random_step(4)
    told, runner = fake_runner(step, iteration=1)
    hook = HealthCurvesHook(interval=2)
    hook.after_train_iter(runner, 1)
    assert not told, 'nobody waits for the device'
    hook.before_save_checkpoint(runner, {})
    hook.after_train_iter(runner, 9)
    ((number, scalars), again) = told
    assert (number, again[0]) == (2, 2)
    for name, values in sampling_curves(step, (4, 2, 2)).items():
        assert scalars[f'health/{name}'] == pytest.approx(values.mean().item())


def test_nothing_is_measured_where_nothing_learns():
    told, runner = fake_runner(random_step(4)._replace(log_probs=None), iteration=9)
    hook = HealthCurvesHook(interval=1)
    hook.after_train_iter(runner, 9)
    runner.model = torch.nn.Linear(1, 1)
    hook.after_train_iter(runner, 9)
    assert not told


def test_a_block_that_does_not_exist(root, tmp_path):
    cfg = train_cfg(root, tmp_path, [dict(HOOKS[1], layers=[3])])
    with pytest.raises(ValueError, match='layers: expected .* from 1 to 2, got 3'):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize(
    'epochs, iterations, expected',
    [
        (800, 800 * 660, 80),
        (3200, 3200 * 37, 320),
        (40, 10000, 20),  # 5000 iterations apart
        (40, 4000, -1),
        (1, 5000, 1),
    ],
)
def test_ten_times_a_run_but_not_too_often(epochs, iterations, expected):
    loop = EpochBasedTrainLoop.__new__(EpochBasedTrainLoop)
    runner = SimpleNamespace(max_epochs=epochs, max_iters=iterations, train_loop=loop)
    assert PretrainVisualizationHook()._every(runner) == expected
    assert PretrainVisualizationHook(interval=3)._every(runner) == 3
    runner.train_loop = None  # by iteration
    of_iterations = -1 if expected < 0 else max(5000, iterations // 10)
    assert FeatureHealthHook()._every(runner) == of_iterations


TWO = """
import json, sys
import torch
from mmengine.registry import init_default_scope
import projects.adamae
from tests.engine.hooks import test_health_hooks as tests

torch.set_num_threads(1)
torch.distributed.init_process_group('gloo')
init_default_scope('mmaction')
print(json.dumps(tests.measure(sys.argv[1], torch.distributed.get_rank(), 2)))
"""


def measure(checkpoint, rank, world_size):
    """Curves and features of a process with its share of six clips, seven videos."""
    saved = torch.load(checkpoint)
    step = TrainingStep(*(x.chunk(world_size)[rank] for x in random_step(6)))
    told, runner = fake_runner(step)
    HealthCurvesHook(interval=1).after_train_iter(runner, 9)
    runner.model.load_state_dict(saved['state_dict'])
    runner.cfg = Config(saved['cfg'])
    runner.train_loop = None
    hook = FeatureHealthHook(num_videos=9, interval=1, batch_size=2, num_workers=0)
    hook.before_train(runner)
    hook.evaluate(runner, hook.videos, 1)
    return [scalars for _, scalars in told]


@pytest.mark.slow
def test_two_processes_have_the_numbers_of_one(root, tmp_path):
    """Nine videos, one of them unreadable: both processes leave it out."""
    for kind in (MessageHub, MMLogger):
        kind._instance_dict.clear()
    cfg = train_cfg(root, tmp_path, [])
    cfg.train_dataloader.dataset.ann_file = str(root / 'bad.txt')
    model = MODELS.build(tiny_model_cfg())
    saved = dict(state_dict=model.state_dict(), cfg=cfg.to_dict())
    torch.save(saved, tmp_path / 'saved.pth')
    command = [sys.executable, '-W', 'ignore', '-c', TWO, tmp_path / 'saved.pth']
    processes = start_pair(command, stdout=subprocess.PIPE)
    outputs = [process.communicate(timeout=180)[0] for process in processes]
    found = [json.loads(output.splitlines()[-1]) for output in outputs]
    expected = measure(tmp_path / 'saved.pth', 0, 1)
    assert len(expected) == 2
    assert expected[1].keys() >= {'health/rankme', 'health/knn_top1'}
    for process in found:
        for scalars, of_one in zip(process, expected, strict=True):
            assert scalars == pytest.approx(of_one, rel=1e-4)
