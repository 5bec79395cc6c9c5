"""Runs that are told to stop."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from projects.adamae.engine.hooks import StopOnSignalHook
from projects.adamae.engine.hooks.stop_on_signal_hook import StoppedBySignalError
from tests.helpers import ROOT, free_port


class Numbers(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return dict(inputs=torch.tensor([float(index)]))


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(1, 1)

    def forward(self, inputs, mode):
        result = self.linear(inputs)
        return dict(loss=result.mean()) if mode == 'loss' else [result]


class NoMetric(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(zero=0.0)


class Send(Hook):
    """Send a signal to this process in an iteration of training or validation."""

    def __init__(self, number, split, iteration):
        self.number, self.split, self.iteration = number, split, iteration

    def _after_iter(self, runner, batch_idx, data_batch=None, outputs=None, mode=''):
        at = runner.iter if mode == 'train' else batch_idx
        if (mode, at) == (self.split, self.iteration):
            os.kill(os.getpid(), self.number)


def make_runner(folder, send, checkpoint='SafeCheckpointHook', hooks=(), **loop):
    loop = loop or dict(by_epoch=True, max_epochs=3)
    loader = DataLoader(Numbers(), batch_size=2)
    runner = Runner(
        Line(),
        str(folder),
        train_dataloader=loader,
        val_dataloader=loader,
        train_cfg=dict(loop, val_interval=2),
        val_cfg=dict(),
        val_evaluator=Evaluator(NoMetric()),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=2),
        default_hooks=dict(checkpoint=dict(type=checkpoint, interval=100), logger=None),
        custom_hooks=[*hooks, dict(type='StopOnSignalHook')],
        cfg=Config(dict(experiment_name=folder.name)),
        experiment_name=folder.name,
        default_scope='mmaction',
    )
    runner.register_hook(send)
    return runner


@pytest.fixture(autouse=True)
def _handlers():
    before = {n: signal.getsignal(n) for n in (10, 1, 2, 15)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
@pytest.mark.parametrize('checkpoint', ['SafeCheckpointHook', 'CheckpointHook'])
def test_run_saves_and_ends(tmp_path, capsys, number, checkpoint):
    """When gradients are complete: two passes make an update."""
    runner = make_runner(tmp_path, Send(number, 'train', 4), checkpoint)
    with pytest.raises(SystemExit) as stopped:
        runner.train()
    assert stopped.value.code == 128 + number
    path = tmp_path / 'iter_6.pth'
    assert capsys.readouterr().err.splitlines()[-1] == (
        f'stopped by {number.name} after iteration 6, saved {path}; go on with --resume'
    )
    saved = torch.load(path)
    assert (saved['meta']['epoch'], saved['meta']['iter']) == (1, 6)
    assert {'optimizer', 'message_hub'} <= saved.keys()
    assert (tmp_path / 'last_checkpoint').read_text() == str(path)
    torch.testing.assert_close(saved['state_dict'], runner.model.state_dict())


def test_validation_is_broken_off(tmp_path):
    """The weights saved are those of training, not the averaged ones."""
    send = Send(signal.SIGTERM, 'val', 1)
    ema = dict(type='EMAHook', momentum=0.5)
    runner = make_runner(tmp_path, send, hooks=[ema])
    with pytest.raises(StoppedBySignalError, match='after iteration 8, saved'):
        runner.train()
    saved = torch.load(tmp_path / 'iter_8.pth')
    assert (saved['meta']['epoch'], saved['meta']['iter']) == (2, 8)
    # `EMAHook` saves the averaged weights in the place of the model's.
    trained = runner.model.linear.weight
    assert saved['ema_state_dict']['module.linear.weight'] == trained
    assert saved['state_dict']['linear.weight'] != trained


def test_iteration_loop(tmp_path):
    loop = dict(by_epoch=False, max_iters=8)
    runner = make_runner(tmp_path, Send(signal.SIGTERM, 'val', 0), **loop)
    with pytest.raises(StoppedBySignalError, match='after iteration 2, saved'):
        runner.train()
    assert torch.load(tmp_path / 'iter_2.pth')['meta']['iter'] == 2


def test_handlers_are_restored_and_ignored_signals_stay_so(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        handlers = [signal.getsignal(n) for n in (1, 2, 10, 15)]
        make_runner(tmp_path, Send(signal.SIGHUP, 'train', 4)).train()
        assert [signal.getsignal(n) for n in (1, 2, 10, 15)] == handlers
    finally:
        signal.signal(signal.SIGHUP, before)


def test_second_interrupt_ends_at_once(tmp_path):
    hook = StopOnSignalHook()
    hook.before_train(None)
    os.kill(os.getpid(), signal.SIGINT)
    assert hook._agree() == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_signals_to_the_group_leave_loader_workers_alone():
    batches = iter(DataLoader(Numbers(), num_workers=2, prefetch_factor=1))
    next(batches)
    next(batches)
    pids = [str(worker.pid) for worker in batches._workers]
    for name in ('INT', 'TERM', 'HUP', 'USR1'):
        # Not from here: torch ends workers that hang with SIGTERM.
        subprocess.run(['kill', '-s', name, *pids], check=True)
    assert len([*batches]) == 6


def test_parent_ends_loader_workers():
    batches = iter(DataLoader(Numbers(), num_workers=1, persistent_workers=True))
    next(batches)
    (worker,) = batches._workers
    worker.terminate()
    worker.join(60)
    assert worker.exitcode == 0


STEPS = 'Epoch(train)'


@pytest.fixture
def start(toy, tmp_path):
    """Start a long run of a launcher; ends what is left of it."""
    started = []

    def start(number_of_processes, *arguments, wait=STEPS, **env):
        tools, count = ROOT / 'tools', number_of_processes
        command = [sys.executable, tools / 'train.py', toy]
        if count > 1:
            command = [tools / 'dist_train.sh', toy, str(count)]
        options = ('train_cfg.max_epochs=100000', 'train_dataloader.num_workers=1')
        log = tmp_path / 'log.txt'
        arguments = ('--work-dir', tmp_path / 'run', *arguments)
        with open(log, 'a') as file:
            process = subprocess.Popen(
                [*map(str, (*command, *arguments, '--cfg-options', *options))],
                env=dict(
                    **{**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
                    **dict(PYTHON=sys.executable, PORT=free_port(), **env),
                ),
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        wait_for(lambda: wait in log.read_text() or process.poll() is not None)
        return process, log

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(condition, seconds=200):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


def ranks_of(launcher):
    """Process ids of the processes that a launcher has started."""
    path = f'/proc/{launcher.pid}/task/{launcher.pid}/children'
    with open(path) as file:
        return [int(pid) for pid in file.read().split()]


def test_all_processes_stop_after_the_same_step(start, tmp_path):
    """One of two gets the signal; torchrun passes the code on, without a word."""
    process, log = start(2)
    os.kill(ranks_of(process)[1], signal.SIGUSR1)
    assert process.wait(200) == 128 + signal.SIGUSR1, log.read_text()
    (saved,) = (tmp_path / 'run').glob('iter_*.pth')
    text = log.read_text()
    assert f'saved {saved}; go on with --resume' in text.splitlines()[-1]
    assert 'Traceback' not in text


@pytest.mark.slow
@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT', 'SIGUSR1', 'SIGHUP'])
@pytest.mark.parametrize('processes', [1, 2])
def test_launcher_or_process_is_told_to_stop(start, tmp_path, name, processes):
    process, log = start(processes)
    process.send_signal(signal.Signals[name])
    assert process.wait(200) == 128 + signal.Signals[name], log.read_text()
    assert len([*(tmp_path / 'run').glob('iter_*.pth')]) == 1
    assert f'stopped by {name} after iteration' in log.read_text().splitlines()[-1]


@pytest.mark.slow
def test_processes_of_a_killed_launcher_save_and_end(start, tmp_path):
    process, log = start(2)
    ranks = ranks_of(process)
    process.kill()
    wait_for(lambda: not any(os.path.exists(f'/proc/{pid}') for pid in ranks))
    assert len([*(tmp_path / 'run').glob('iter_*.pth')]) == 1, log.read_text()


@pytest.mark.slow
def test_restarted_processes_resume(start, tmp_path):
    process, log = start(2, wait='Epoch(val) [2]', MAX_RESTARTS='1')
    os.kill(ranks_of(process)[1], signal.SIGKILL)
    wait_for(lambda: 'resumed epoch' in log.read_text() or process.poll() is not None)
    assert 'started again: going on from' in log.read_text()
    size = len(log.read_text())
    wait_for(lambda: STEPS in log.read_text()[size:])
    process.terminate()
    assert process.wait(200) == 143, log.read_text()


@pytest.mark.slow
def test_signal_while_a_run_begins(start, tmp_path):
    process, log = start(1, wait='')
    time.sleep(1)
    process.terminate()
    assert process.wait(100) == 143
    assert not (tmp_path / 'run').exists()
