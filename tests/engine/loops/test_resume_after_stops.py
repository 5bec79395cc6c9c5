"""Runs that end early by themselves, resumed, against one that does not."""

import operator
import os
import shutil
import signal

import pytest
import torch
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from torch.utils._pytree import tree_flatten_with_path

from projects.adamae.engine.hooks import UnreadableVideosHook
from tests.engine.loops.test_exact_resume import make_config, train  # noqa: F401

# Two epochs of four iterations, three passes to an update, averaged weights.
CHANGES = """
train_cfg = dict(type='ResumableEpochTrainLoop', max_epochs=2)
optim_wrapper['accumulative_counts'] = 3
custom_hooks += [dict(type='EMAHook'), dict(type='StopOnSignalHook')]
default_hooks['checkpoint'] = dict(type='SafeCheckpointHook', interval=1)
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**train_dataloader['dataset'], test_mode=True))
val_evaluator = dict(type='MaskingMetric', patch_size=8, tubelet_size=2)
val_cfg = dict(type='ValLoop')
"""
STEPS = "train_cfg = dict(type='ResumableIterTrainLoop', max_iters=8, val_interval=4)\n"
STEPS += "default_hooks['checkpoint']['by_epoch'] = False\n"


@HOOKS.register_module(force=True)
class TerminateHook(Hook):
    """Send SIGTERM to this process after an iteration of training or validation."""

    priority = 'VERY_HIGH'

    def __init__(self, mode, at):
        self.mode, self.at = mode, at

    def _after_iter(self, runner, batch_idx, data_batch=None, outputs=None, mode=''):
        if (mode, runner.iter) == (self.mode, self.at):
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(autouse=True)
def _handlers():
    signals = signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT
    before = {number: signal.getsignal(number) for number in signals}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def trained(path):
    """All that training depends on, by name."""
    saved = torch.load(path, weights_only=True)
    names = 'state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'
    content = {name: saved[name] for name in names}
    for name in ('iter', 'epoch', 'data_position'):
        content[name] = saved['meta'][name]
    return dict(tree_flatten_with_path(content)[0])


def assert_same_training(folder, name):
    whole, resumed = (trained(folder / part / name) for part in ('whole', 'broken'))
    assert whole.keys() == resumed.keys()
    for key, value in whole.items():
        is_same = torch.equal if torch.is_tensor(value) else operator.eq
        assert is_same(resumed[key], value), key


@pytest.mark.parametrize(
    ('loop', 'mode', 'at', 'saved'),
    [
        ('', 'train', 1, 'iter_3.pth'),
        ('', 'train', 3, 'iter_4.pth'),  # in the validation after it
        ('optim_wrapper["accumulative_counts"] = 2\n', 'train', 3, 'iter_4.pth'),
        ('', 'val', 4, 'iter_4.pth'),
        (STEPS, 'val', 4, 'iter_4.pth'),
    ],
)
def test_stopped_runs_equal_unbroken_ones(
    make_config,  # noqa: F811
    tmp_path,
    loop,
    mode,
    at,
    saved,
):
    config = make_config('unbroken', CHANGES + loop)
    train(config, tmp_path / 'whole')
    stop = f"custom_hooks.append(dict(type='TerminateHook', mode='{mode}', at={at}))\n"
    stopped = make_config('stopped', CHANGES + loop + stop)
    with pytest.raises(SystemExit) as end:
        train(stopped, tmp_path / 'broken')
    assert end.value.code == 128 + signal.SIGTERM
    assert (tmp_path / 'broken' / saved).exists()
    train(config, tmp_path / 'broken', '--resume')
    name = 'iter_8.pth' if loop == STEPS else 'epoch_2.pth'
    assert_same_training(tmp_path, name)


def test_run_with_too_many_bad_videos_equals_one_that_may_go_on(
    make_config,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    config = make_config('bad', CHANGES)
    videos = shutil.copytree(config.parent / 'videos', tmp_path / 'videos')
    victim = videos / '3.mp4'

    def damage(self, *_, **__):
        if victim.read_bytes() != bytes(5000):
            victim.write_bytes(bytes(5000))

    monkeypatch.setattr(UnreadableVideosHook, 'before_train_epoch', damage)
    options = {'train_dataloader.dataset.data_prefix.video': videos}
    share = 'default_hooks.unreadable_videos.max_share'
    train(config, tmp_path / 'whole', **options, **{share: 0.5})
    shutil.copy(config.parent / 'videos/3.mp4', victim)
    with pytest.raises(SystemExit):
        train(config, tmp_path / 'broken', **options, **{share: 0})
    (saved,) = (tmp_path / 'broken').glob('iter_*.pth')
    train(config, tmp_path / 'broken', '--resume', saved, **options, **{share: 0.5})
    assert_same_training(tmp_path, 'epoch_2.pth')
