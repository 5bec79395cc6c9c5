"""Runs that are told to stop."""

import os
import signal
import subprocess

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
