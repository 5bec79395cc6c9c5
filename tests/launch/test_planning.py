"""A plan is measured with the pieces of a real run, and leaves nothing behind."""

import json
import os
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from projects.adamae import launch
from projects.adamae.launch import measuring, planning
from tests.helpers import ROOT, load_tool, run_command

QUICK = '--seconds', '1', '--cfg-options'


def prepared(toy, **options):
    args = load_tool('plan').parse_args([str(toy)])
    args.cfg_options = {key: str(value) for key, value in options.items()}
    cfg = launch.load_config(args)
    planning.prepare_to_plan(cfg, args)
    return cfg


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_is_measured(toy, here, warned):
    cfg = prepared(
        toy,
        **{
            'train_cfg.max_epochs': 5,
            'train_cfg.val_interval': 2,
            'default_hooks.checkpoint.interval': 2,
            'optim_wrapper.accumulative_counts': 3,
            # What it would start from may be made later.
            'load_from': 'pretrain/epoch_9.pth',
            'resume': True,
        },
    )
    numbers = measuring.measure(cfg, seconds=0.2)
    # What is absurd of the run is said here, too.
    assert any('updates the weights 7 times' in message for message in warned)
    run = numbers.run
    assert (run.videos, run.clips, run.batch, run.steps) == (4, 1, 1, 4)
    assert (run.length, run.by_epoch, run.total_steps, run.passes) == (5, True, 20, 3)
    assert (run.validations, run.checkpoints, run.workers) == (3, 3, 0)
    for name in ('step', 'iteration', 'start', 'decode', 'transform', 'validation'):
        assert getattr(numbers, name) > 0, name
    assert numbers.pause > 0 and numbers.busy_cores > 0
    assert 0 < numbers.training_memory <= numbers.memory
    assert os.listdir(here) == []


def test_iterations_and_workers_are_measured(toy, here):
    cfg = prepared(
        toy,
        **{
            'default_hooks.checkpoint.by_epoch': False,
            'default_hooks.checkpoint.interval': 4,
            'train_dataloader.num_workers': 1,
            'train_dataloader.batch_size': 2,
            'param_scheduler': None,
        },
    )
    loop = dict(type='ResumableIterTrainLoop', max_iters=10, val_interval=4)
    cfg.train_cfg = loop
    run = measuring.measure(cfg, seconds=0.2).run
    assert (run.length, run.by_epoch, run.total_steps, run.steps) == (10, False, 10, 2)
    assert (run.validations, run.checkpoints, run.workers) == (3, 3, 1)


@pytest.fixture
def measured(monkeypatch):
    """Batches that were measured; those above two do not fit."""
    batches = []

    def measure(cfg, seconds, steps_only=False):
        batch = cfg.train_dataloader.batch_size
        batches.append(batch)
        if batch > measured.fits:
            raise planning.OutOfMemory('killed')
        run = measuring.Run(100, 1, batch, 100 // batch, 10)
        rest = dict(
            busy_cores=1, start=0, setup=0, decode=0.1, transform=0.1, validation=0
        )
        rest |= dict(validation=0, pause=0, memory_per_worker=0, device='CPU')
        size = 10**8 * (5 + batch)
        return measuring.Numbers(
            run,
            1 + batch,
            iteration=1 + batch,
            memory=size,
            training_memory=size,
            **rest,
        )

    measured = SimpleNamespace(batches=batches, fits=2)
    monkeypatch.setattr(planning, '_measure', measure)
    monkeypatch.setattr(planning, '_predict', lambda cfg: None)
    return measured


def config(batch):
    return Config(dict(train_dataloader=dict(batch_size=batch), model=dict(type='x')))


def test_a_batch_that_does_not_fit_is_halved(measured, capsys):
    plan = planning.make_plan(config(8), 1).plan
    assert measured.batches == [8, 4, 2, 1] and plan.run.batch == 2
    assert plan.measured.memory_per_video == pytest.approx(1e8)
    assert plan.measured.small_step == 2
    assert 'batch_size=8 does not fit into memory: planning with 4' in (
        capsys.readouterr().err
    )


def test_one_video_at_a_time(measured):
    plan = planning.make_plan(config(1), 1).plan  # two are the other point
    assert measured.batches == [1, 2] and plan.measured.small_batch == 2
    assert plan.measured.memory_per_video == pytest.approx(1e8)
    measured.fits = 1
    plan = planning.make_plan(config(1), 1).plan
    assert plan.measured.small_batch == 0
    measured.fits = 0
    with pytest.raises(planning.OutOfMemory, match='batch_size=1 does not fit'):
        planning.make_plan(config(1), 1)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['train_dataloader.batch_size=5'], 'batch_size=5'),
        (['train_dataloader.dataset.ann_file=no.txt'], 'no.txt'),
    ],
)
@pytest.mark.slow
def test_errors_in_one_line(toy, here, options, words):
    drop = ['train_dataloader.drop_last=True']
    done = run_command(ROOT / 'tools/plan.py', toy, *QUICK, *options, *drop, cwd=here)
    (line,) = [x for x in done.stderr.splitlines() if x.startswith('error: ')]
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert 'videos' in line or words in line


@pytest.mark.slow
def test_the_tool_prints_a_page_and_leaves_nothing(toy, here):
    tool = ROOT / 'tools/plan.py'
    done = run_command(
        tool, toy, '--json', 'plan.json', *QUICK, 'train_cfg.max_epochs=3', cwd=here
    )
    assert done.returncode == 0, done.stderr
    assert '\nPlan of ' in f'\n{done.stdout}'
    for name in ('data', 'step', 'loading', 'workers', 'memory', 'bottleneck'):
        assert f'\n{name} ' in done.stdout
    assert 'updates the weights 12 times' in done.stdout  # MMEngine's log
    assert 'UserWarning' not in done.stderr
    assert os.listdir(here) == ['plan.json']
    numbers = json.loads((here / 'plan.json').read_text())
    assert [time['devices'] for time in numbers['times']['same_batch'][:1]] == [1]
    assert numbers['run']['videos'] == 4
