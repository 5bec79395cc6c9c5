"""At any moment a whole checkpoint is on the disk; training does not wait for it."""

import errno
import os
import random
import resource
import signal
import time
import zipfile
from multiprocessing import get_context
from threading import Event
from types import SimpleNamespace

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.fileio.backends import LocalBackend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from projects.adamae.engine.hooks import CheckpointNotSaved, SafeCheckpointHook
from projects.adamae.engine.hooks import safe_checkpoint_hook as module

BATCHES = 4


class Line(BaseModel):
    def __init__(self, width=2):
        super().__init__()
        self.layer = torch.nn.Linear(2, width)

    def forward(self, inputs, mode, **_):
        loss = self.layer(torch.stack(inputs)).square().mean()
        return {'loss': loss} if mode == 'loss' else [loss]


class Score(Evaluator):
    """A metric that is better in every validation."""

    best = 0

    def __init__(self):
        super().__init__([])

    def evaluate(self, size):
        self.best += 1
        return dict(acc=self.best)

    def process(self, **_):
        pass


class Record(Hook):
    """Call a function around every iteration."""

    def __init__(self, function):
        self.function = function

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.function(runner)


def train(
    work_dir,
    epochs=3,
    watch=lambda runner: None,
    resume=None,
    accumulate=1,
    width=2,
    kind='SafeCheckpointHook',
    **options,
):
    """Run, or go on to the end; returns the runner."""
    for registry in (MessageHub, MMLogger):
        registry._instance_dict.clear()
    torch.manual_seed(0)
    inputs = list(torch.randn(BATCHES, 2))
    loader = DataLoader(inputs, 1, collate_fn=lambda batch: dict(inputs=batch))
    is_validated = bool(options.get('save_best'))
    runner = Runner(
        model=Line(width),
        work_dir=str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_dataloader=loader if is_validated else None,
        val_cfg=dict() if is_validated else None,
        val_evaluator=Score() if is_validated else None,
        optim_wrapper=dict(
            optimizer=dict(type='AdamW', lr=0.1), accumulative_counts=accumulate
        ),
        default_hooks=dict(checkpoint=dict(type=kind, interval=1, **options)),
        custom_hooks=[Record(watch)],
        load_from=resume,
        resume=bool(resume),
        default_scope='mmaction',
        log_level='WARNING',
    )
    runner.train()
    return runner


def hook_of(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, CheckpointHook))


def names(folder):
    return sorted(n for n in os.listdir(folder) if n.endswith(('.pth', '.partial')))


def assert_whole(path):
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
    assert torch.load(path)['meta']['iter']


def full(*_):
    raise OSError(errno.ENOSPC, 'No space left on device')


@pytest.fixture
def errors(monkeypatch):
    found = []
    monkeypatch.setattr(MMLogger, 'error', lambda self, text: found.append(text))
    return found


def test_the_files_are_those_of_mmengine(tmp_path):
    contents = []
    for kind in ('CheckpointHook', 'SafeCheckpointHook'):
        train(tmp_path / kind, 1, kind=kind)
        contents.append(torch.load(tmp_path / kind / 'epoch_1.pth'))
        pointer = (tmp_path / kind / 'last_checkpoint').read_text()
        assert pointer == str(tmp_path / kind / 'epoch_1.pth')
    stock, ours = contents
    assert list(stock) == list(ours)
    for name, value in stock['state_dict'].items():
        assert torch.equal(value, ours['state_dict'][name])
    with zipfile.ZipFile(tmp_path / 'CheckpointHook/epoch_1.pth') as file:
        records = file.namelist()
    with zipfile.ZipFile(tmp_path / 'SafeCheckpointHook/epoch_1.pth') as file:
        assert file.namelist() == records


@pytest.mark.parametrize('options', [{}, dict(save_best='acc', rule='greater')])
def test_a_file_is_removed_after_what_replaces_it_is_whole(
    tmp_path, monkeypatch, options
):
    remove, removed = LocalBackend.remove, []

    def checked(self, path):
        others = [n for n in names(tmp_path) if n != os.path.basename(path)]
        best = os.path.basename(path).startswith('best')
        assert any(n.startswith('best' if best else 'epoch') for n in others)
        newest = (tmp_path / 'last_checkpoint').read_text()
        assert newest != str(path)
        assert_whole(newest)
        if best:
            info = torch.load(newest)['message_hub']['runtime_info']
            assert info['best_ckpt'] != str(path)
        removed.append(os.path.basename(path))
        remove(self, path)

    monkeypatch.setattr(LocalBackend, 'remove', checked)
    train(tmp_path, max_keep_ckpts=1, **options)
    best = ['best_acc_epoch_3.pth'] * bool(options)
    assert names(tmp_path) == [*best, 'epoch_3.pth']
    assert len(removed) == (4 if options else 2)


def test_what_a_killed_run_did_not_get_to_remove_is_known_after_a_resume(
    tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(LocalBackend, 'remove', lambda self, path: None)
        train(tmp_path, 2, max_keep_ckpts=1)
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']
    train(tmp_path, 3, max_keep_ckpts=1, resume=str(tmp_path / 'epoch_2.pth'))
    assert names(tmp_path) == ['epoch_3.pth']


def test_published_and_several_best(tmp_path):
    options = dict(save_best=['acc'], rule='greater', published_keys=['state_dict'])
    train(tmp_path, 2, max_keep_ckpts=1, **options)
    assert [n.rpartition('-')[0] or n for n in names(tmp_path)] == [
        'best_acc_epoch_2',
        'best_acc_epoch_2.pth',
        'epoch_2',
        'epoch_2.pth',
    ]


@pytest.mark.parametrize('best', [False, True])
def test_full_disk(tmp_path, monkeypatch, errors, best):
    """The second epoch cannot be saved: nothing else is lost, and the third is."""

    def watch(runner):
        if runner.iter == BATCHES:
            hook_of(runner)._settle(runner, wait=True)
            monkeypatch.setattr(os, 'fsync', full)
        if runner.iter == 2 * BATCHES:
            hook_of(runner)._settle(runner, wait=True)
            assert 'epoch_1.pth' in names(tmp_path)
            assert ('best_acc_epoch_1.pth' in names(tmp_path)) is best
            monkeypatch.setattr(os, 'fsync', fsync)

    fsync = os.fsync
    options = dict(save_best='acc', rule='greater') if best else {}
    # The best one of the second epoch is not, and neither is the state that names it.
    train(tmp_path, watch=watch, max_keep_ckpts=1, **options)
    left = names(tmp_path)
    assert left[-1] == 'epoch_3.pth'
    assert 'epoch_1.pth' not in left
    assert ('best_acc_epoch_3.pth' in left) is best
    assert len(errors) == (3 if best else 1)
    assert 'epoch_2.pth could not be written: No space left on device; it' in errors[0]
    assert 'GB are free there; the newest whole checkpoint is epoch_1.' in errors[0]


def test_a_file_that_grows_too_large(tmp_path, errors):
    """The error of a real write, in the midst of a record of the archive."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(CheckpointNotSaved, match='last checkpoint is not saved'):
            train(tmp_path, 1, width=50_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (message,) = errors
    assert 'epoch_1.pth could not be written: File too large; it takes 0.00' in message
    assert names(tmp_path) == []


def test_other_errors_of_the_thread_end_training(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise TypeError('cannot pickle')

    monkeypatch.setattr(module, '_write', fail)
    with pytest.raises(TypeError, match='cannot pickle'):
        train(tmp_path)


def test_training_goes_on_while_a_copy_is_written(tmp_path, monkeypatch):
    go_on, seen, write = Event(), {}, module._write

    def slow(*args, **options):
        assert go_on.wait(60)
        write(*args, **options)

    def watch(runner):
        if runner.iter == BATCHES:
            seen['weight'] = runner.model.layer.weight.clone()
            seen['state'] = str(runner.optim_wrapper.optimizer.state_dict())
        if runner.iter == BATCHES + 2:
            assert names(tmp_path) == []
            assert not torch.equal(seen['weight'], runner.model.layer.weight)
            go_on.set()

    monkeypatch.setattr(module, '_write', slow)
    train(tmp_path, 2, watch=watch)
    content = torch.load(tmp_path / 'epoch_1.pth')
    assert torch.equal(content['state_dict']['layer.weight'], seen['weight'])
    saved = content['optimizer']
    saved.pop('base_param_settings', None)
    assert str(saved) == seen['state']


@pytest.mark.parametrize('accumulate', [1, 3])
def test_by_the_clock(tmp_path, monkeypatch, accumulate):
    """The newest only, until the epoch's; never between two updates."""
    seen = []

    def watch(runner):
        hook = hook_of(runner)
        hook._settle(runner, wait=True)
        hook._due = 0
        seen.append(names(tmp_path))

    train(tmp_path, 2, watch=watch, accumulate=accumulate)
    updates = [[1, 2, 3], [5, 6, 7]] if accumulate == 1 else [[3], [6]]
    expected, there = [], []
    for iteration in range(2 * BATCHES):
        if iteration and iteration % BATCHES == 0:
            there = ['epoch_1.pth']
        elif iteration in sum(updates, []):
            there = [*there[:1] * (iteration > BATCHES), f'iter_{iteration}.pth']
        expected.append(there)
    assert seen == expected
    assert names(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']


def test_a_run_resumed_from_one_by_the_clock_replaces_it(tmp_path):
    class Killed(Exception):
        pass

    runners = []

    def watch(runner):
        if runner.iter == BATCHES + 2:
            runners.append(runner)
            raise Killed
        hook_of(runner)._settle(runner, wait=True)
        hook_of(runner)._due = 0

    with pytest.raises(Killed):
        train(tmp_path, watch=watch)
    hook_of(runners[0])._settle(runners[0], wait=True)
    assert names(tmp_path) == ['epoch_1.pth', 'iter_6.pth']
    newest = (tmp_path / 'last_checkpoint').read_text()
    assert torch.load(newest)['meta']['iter'] == BATCHES + 2
    train(tmp_path, resume=newest)
    assert [n for n in names(tmp_path) if n.startswith('iter')] == []


def test_the_pauses_set_how_often(tmp_path):
    hook = SafeCheckpointHook(every_minutes=1)
    for pause, seconds, wait in ((0, 0, 60), (0.3, 3, 60), (2, 3, 200), (1, 30, 300)):
        hook._schedule(pause, seconds)
        assert hook._due - time.monotonic() == pytest.approx(wait, abs=5)
    with pytest.raises(ValueError, match='expected every_minutes to be positive'):
        SafeCheckpointHook(every_minutes=0)
    assert not SafeCheckpointHook(every_minutes=None)._is_due(None)


def test_save_now(tmp_path, monkeypatch, errors):
    saved = []

    class Ask(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 1:
                saved.append(hook_of(runner).save_now(runner))
                assert_whole(saved[0])
                monkeypatch.setattr(os, 'fsync', full)
                with pytest.raises(CheckpointNotSaved, match='iter_2.pth could not'):
                    hook_of(runner).save_now(runner)
                assert_whole(saved[0])
                monkeypatch.undo()

    train(tmp_path, 1, watch=lambda runner: runner.iter or runner.register_hook(Ask()))
    assert saved == [str(tmp_path / 'iter_2.pth')]
    assert names(tmp_path) == ['epoch_1.pth']


def test_gradients_of_an_update_that_is_not_complete(tmp_path):
    """Three iterations an update, four an epoch: resumed as if never stopped."""

    def record(values):
        def watch(runner):
            gradient = runner.model.layer.weight.grad
            values[runner.iter] = None if gradient is None else gradient.clone()

        return watch

    unbroken, resumed = {}, {}
    options = dict(epochs=3, accumulate=3)
    last = train(tmp_path, watch=record(unbroken), **options).model
    content = torch.load(tmp_path / 'epoch_1.pth')
    assert list(content['gradients']['parameters']) == ['layer.weight', 'layer.bias']
    assert 'gradients' not in torch.load(tmp_path / 'epoch_3.pth')
    again = train(
        tmp_path / 'again',
        watch=record(resumed),
        resume=str(tmp_path / 'epoch_1.pth'),
        **options,
    ).model
    assert min(resumed) == BATCHES
    assert resumed[BATCHES] is not None
    for iteration, gradient in resumed.items():
        if unbroken[iteration] is None:
            assert gradient is None
        else:
            assert torch.equal(gradient, unbroken[iteration])
    for one, other in zip(last.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    # With other settings they do not fit.
    other = {}
    resume = str(tmp_path / 'epoch_1.pth')
    train(tmp_path / 'other', 2, record(other), resume=resume, accumulate=5)
    assert other[BATCHES] is None


def test_what_killed_processes_left_is_swept(tmp_path):
    digits = 'a' * 32
    for folder in (tmp_path / 'run', tmp_path / 'out/run'):
        folder.mkdir(parents=True)
        for name in (f'{digits}.partial', '.a.mp4.77.part', 'my.partial'):
            (folder / name).write_text('half')
            os.utime(folder / name, (1e9, 1e9))
        # Of another process: of this moment, or in a folder that has no lock.
        (folder / f'{"b" * 32}.partial').write_text('half')
        age = -60 if folder.parent == tmp_path else 600
        os.utime(folder / f'{"b" * 32}.partial', (time.time() - age,) * 2)
    train(tmp_path / 'run', 1, out_dir=str(tmp_path / 'out'))
    for folder in (tmp_path / 'run', tmp_path / 'out/run'):
        left = {n for n in os.listdir(folder) if 'part' in n}
        assert left == {'my.partial', f'{"b" * 32}.partial'}


def save_until_killed(folder):
    """As fast as it goes, keeping one."""
    torch.set_num_threads(1)  # threads are not inherited
    MMLogger.get_instance(folder.name)
    hub = MessageHub.get_instance(folder.name)

    def save(out_dir, name, *_, meta, **__):
        content = dict(meta=meta, weights=torch.full((300_000,), meta['iter']))
        path = os.path.join(out_dir, name)
        module.importlib.import_module(Runner.__module__).save_checkpoint(content, path)

    runner = SimpleNamespace(
        work_dir=str(folder),
        logger=MMLogger.get_current_instance(),
        message_hub=hub,
        hooks=[],
        model=torch.nn.Identity(),
        optim_wrapper=None,
        save_checkpoint=save,
        iter=0,
        epoch=0,
    )
    hook = SafeCheckpointHook(interval=1, max_keep_ckpts=1)
    hook.before_train(runner)
    for runner.epoch in range(100_000):
        runner.iter += 1
        hook._save_checkpoint(runner)


def test_kills_while_writing(tmp_path):
    """Not one of them takes the newest checkpoint away, or leaves a damaged one."""
    rng = random.Random(0)
    found = 0
    for kill in range(10):
        folder = tmp_path / str(kill)
        folder.mkdir()
        child = get_context('fork').Process(target=save_until_killed, args=(folder,))
        child.start()
        while not (folder / 'last_checkpoint').exists():
            assert child.is_alive()
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.1))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        newest = (folder / 'last_checkpoint').read_text()
        assert_whole(newest)
        for name in names(folder):
            if name.endswith('.pth'):
                assert_whole(folder / name)
            else:
                found += 1
    assert found  # some were killed in the midst of it
