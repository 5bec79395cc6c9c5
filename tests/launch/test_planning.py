"""A plan is measured with the pieces of a real run, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from multiprocessing import get_context
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
    numbers = measuring.measure(cfg, 0.2, str(here / 'out'))
    # What is absurd of the run is said here, too.
    assert any('updates the weights 7 times' in message for message in warned)
    run = numbers.run
    assert (run.videos, run.clips, run.batch, run.steps) == (4, 1, 1, 4)
    assert (run.length, run.by_epoch, run.total_steps, run.passes) == (5, True, 20, 3)
    assert (run.validations, run.checkpoints, run.workers) == (3, 3, 0)
    for name in ('step', 'iteration', 'decode', 'transform', 'validation', 'pause'):
        assert getattr(numbers, name) > 0, name
    assert numbers.loading_work > 0 and numbers.busy_cores > 0
    assert numbers.steps_measured >= 1 and numbers.start >= 0
    assert 0 < numbers.training_memory <= numbers.memory
    assert os.listdir(here) == ['out']


def test_the_seconds_are_kept_where_a_step_takes_longer(toy, here, monkeypatch):
    cfg = prepared(toy, **{'optim_wrapper.accumulative_counts': 3})
    steps = []
    original = measuring._Session._step

    def step(self, *args):
        steps.append(0)
        original(self, *args)
        self.begin -= 5  # as if it had taken so long

    monkeypatch.setattr(measuring._Session, '_step', step)
    numbers = measuring.measure(cfg, 1, str(here / 'out'))
    assert len(steps) == numbers.steps_measured == 1
    assert numbers.step == numbers.iteration > 0 and numbers.validation > 0
    assert numbers.memory >= numbers.training_memory > 0


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
    run = measuring.measure(cfg, 0.2, str(here / 'out')).run
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
        names = 'start setup startup validation pause write memory_per_worker'
        rest = dict.fromkeys(names.split(), 0)
        rest |= dict(busy_cores=1, decode=0.1, transform=0.1, loading_work=0.2)
        rest |= dict(device='CPU', seconds=measured.seconds, steps_measured=9)
        size = 10**8 * (5 + batch)
        return measuring.Numbers(
            run=run,
            step=1 + batch,
            iteration=1 + batch,
            memory=size,
            training_memory=size,
            **rest,
        )

    measured = SimpleNamespace(batches=batches, fits=2, seconds=0, busy=0)
    monkeypatch.setattr(planning, '_measure', measure)
    monkeypatch.setattr(planning, '_predict', lambda cfg: None)
    monkeypatch.setattr(planning, '_busy_cores', lambda: measured.busy)
    return measured


def config(batch):
    return Config(dict(train_dataloader=dict(batch_size=batch), model=dict(type='x')))


def test_a_batch_that_does_not_fit_is_halved(measured, capsys):
    plan = planning.make_plan(config(8), 99).plan
    assert measured.batches == [8, 4, 2, 1] and plan.run.batch == 2
    assert plan.measured.memory_per_video == pytest.approx(1e8)
    assert plan.measured.small_step == 2
    assert 'batch_size=8 does not fit into memory: planning with 4' in (
        capsys.readouterr().err
    )


def test_one_video_at_a_time(measured):
    plan = planning.make_plan(config(1), 99).plan  # two are the other point
    assert measured.batches == [1, 2] and plan.measured.small_batch == 2
    assert plan.measured.memory_per_video == pytest.approx(1e8)
    measured.fits = 1
    plan = planning.make_plan(config(1), 99).plan
    assert plan.measured.small_batch == 0
    measured.fits = 0
    with pytest.raises(planning.OutOfMemory, match='batch_size=1 does not fit'):
        planning.make_plan(config(1), 99)


def test_a_smaller_batch_if_there_is_time(measured, monkeypatch):
    measured.seconds = 98
    monkeypatch.setattr(planning, '_predict', lambda cfg: lambda batch: 7e8 * batch)
    plan = planning.make_plan(config(2), 99).plan
    assert measured.batches == [2] and plan.measured.small_batch == 0
    assert plan.measured.memory_per_video == pytest.approx(7e8)


def fail(answer, cfg, *args):
    if cfg['how'] == 'killed':
        os.kill(os.getpid(), signal.SIGKILL)
    errors = dict(full=RuntimeError("can't allocate memory"), other=ValueError('one'))
    answer.send((errors[cfg['how']], 'Traceback ...', None))


@pytest.mark.parametrize(
    ('how', 'kind', 'message'),
    [
        ('killed', planning.OutOfMemory, 'was killed'),
        ('full', planning.OutOfMemory, 'allocate memory'),
        ('other', ValueError, 'one'),
    ],
)
def test_what_may_end_the_process_that_measures(monkeypatch, how, kind, message):
    monkeypatch.setattr(planning, '_child', fail)
    monkeypatch.setattr(planning, 'get_context', lambda _: get_context('fork'))
    with pytest.raises(kind, match=message):
        planning._measure(Config(dict(how=how)), 1)


def test_errors_in_one_line(toy, here, capsys):
    options = 'train_dataloader.dataset.ann_file=no.txt'
    with pytest.raises(SystemExit, match='2'):
        load_tool('plan').main([str(toy), *QUICK, options])
    (line,) = [x for x in capsys.readouterr().err.splitlines() if 'error: ' in x]
    assert 'no.txt' in line
    batch = {'train_dataloader.batch_size': 5, 'train_dataloader.drop_last': True}
    with pytest.raises(ValueError, match='5'):
        measuring.measure(prepared(toy, **batch), 0.2, str(here / 'out'))


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


@pytest.mark.slow
def test_signals_end_it_in_one_line(toy, here):
    (here / 'tmp').mkdir()
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'TMPDIR': str(here / 'tmp')}
    command = [sys.executable, str(ROOT / 'tools/plan.py'), str(toy)]
    with subprocess.Popen(
        command, cwd=here, env=env, stderr=subprocess.PIPE, text=True
    ) as tool:
        for line in tool.stderr:
            if line.startswith('measuring '):
                break
        tool.send_signal(signal.SIGINT)
        rest = tool.stderr.read()
    assert tool.returncode == 130
    assert [x for x in rest.splitlines() if not x.startswith('measuring ')] == [
        'stopped by SIGINT: no plan'
    ]
    assert os.listdir(here) == ['tmp']
    # Some versions of PyTorch make a cache there when they are imported.
    assert not [p for p in os.listdir(here / 'tmp') if 'torchinductor' not in p]


def test_other_work_is_told(measured):
    assert 'other work' not in planning.make_plan(config(1), 99).machine
    measured.busy = 1.5
    assert 'takes 1.5 of them' in planning.make_plan(config(1), 99).machine


def test_other_work_is_watched(monkeypatch):
    monkeypatch.setattr(planning, '_WATCHED', 0.01)
    assert planning._busy_cores() >= 0
