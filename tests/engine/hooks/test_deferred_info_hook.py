"""The log is MMEngine's; the device is read where it logs and nowhere else."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS, RUNNERS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.runner import EpochBasedTrainLoop
from torch.utils._python_dispatch import TorchDispatchMode

from projects.adamae.engine.hooks.deferred import DeferredScalars
from projects.adamae.engine.hooks.update_guard import Later, UpdateGuard
from tests.helpers import ROOT, tiny_model_cfg

STEPS, INTERVAL = 10, 4


@DATASETS.register_module(name='CountedClips', force=True)
class Clips(torch.utils.data.Dataset):
    def __len__(self):
        return 2 * STEPS

    def __getitem__(self, index):
        video = np.random.default_rng(index).integers(0, 256, (1, 3, 8, 16, 16))
        return dict(
            inputs=torch.from_numpy(video.astype(np.uint8)),
            data_samples=ActionDataSample(),
        )


class Reads(TorchDispatchMode):
    """Notes the iterations that read a number from a tensor: they wait for a GPU."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.count = Counter()
        self.where = None
        tolist, run_iter = torch.Tensor.tolist, EpochBasedTrainLoop.run_iter

        def counted_tolist(tensor):
            self.count[self.where] += self.where is not None
            return tolist(tensor)

        def counted_iter(loop, idx, batch):
            self.where = loop.iter + 1
            with self:
                run_iter(loop, idx, batch)
            self.where = None

        monkeypatch.setattr(torch.Tensor, 'tolist', counted_tolist)
        monkeypatch.setattr(EpochBasedTrainLoop, 'run_iter', counted_iter)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            self.count[self.where] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """What checks the updates does what it does where reading a number is a wait."""
    init = UpdateGuard.__init__

    def late(self, *args):
        init(self, *args)
        self.reads_late, self._waits = True, False

    monkeypatch.setattr(UpdateGuard, '__init__', late)
    # Of a copy that is on the host by then.
    monkeypatch.setattr(Later, 'read', lambda self: self._value.numpy().item())


@pytest.fixture
def build(tmp_path):
    """Make runs of the shipped schedule and runtime on a tiny model."""

    def make(name, **options):
        cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
        schedule = Config.fromfile(ROOT / 'configs/_base_/schedules/pretrain_800e.py')
        cfg.merge_from_dict(schedule.to_dict())
        cfg.merge_from_dict(
            {
                'launcher': 'none',
                'work_dir': str(tmp_path / name),
                'experiment_name': name,
                'optim_wrapper.type': 'OptimWrapper',
                'optim_wrapper.clip_grad': dict(max_norm=1.0),
                'train_cfg.max_epochs': 2,
                'param_scheduler.0.end': 1,
                'param_scheduler.1.begin': 1,
                'default_hooks.logger.interval': INTERVAL,
                'visualizer.vis_backends': [],
                **options,
            }
        )
        cfg.model = tiny_model_cfg()
        cfg.train_dataloader = dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(type='CountedClips'),
        )
        return RUNNERS.build(cfg)

    return make


def history(runner):
    return {
        name: buffer.data[0]
        for name, buffer in runner.message_hub.log_scalars.items()
        if not name.endswith('time')
    }


def test_log_is_that_of_the_stock_hook(build):
    stock = build('stock', **{'default_hooks.runtime_info.type': 'RuntimeInfoHook'})
    stock.train()
    ours = build('ours')
    ours.train()
    expected = history(stock)
    assert {'train/loss', 'train/grad_norm', 'train/lr'} <= expected.keys()
    assert history(ours).keys() == expected.keys()
    for name, values in history(ours).items():
        assert len(values) == 2 * STEPS
        assert np.array_equal(values, expected[name]), name


def test_device_is_read_where_the_log_is_written(as_on_a_gpu, build, monkeypatch):
    reads = Reads(monkeypatch)
    build('reads').train()
    # The end of an epoch is logged, too.
    logged = [4, 8, 10, 14, 18, 20]
    # For the log, to look for NaN, and for what goes wrong without one.
    del reads.count[None]  # the set-up
    assert reads.count == dict.fromkeys(logged, 3)


def test_checkpoint_between_logs_holds_all_numbers(build):
    every_third = dict(interval=3, by_epoch=False, max_keep_ckpts=-1)
    runner = build('saved', **{'default_hooks.checkpoint': every_third})
    runner.train()
    saved = torch.load(Path(runner.work_dir) / 'iter_6.pth')
    losses = saved['message_hub']['log_scalars']['train/loss'].data[0]
    assert np.array_equal(losses, history(runner)['train/loss'][:6])


def test_history_is_short(build):
    runner = build('short', **{'default_hooks.runtime_info.history': 5})
    runner.train()
    lengths = {len(values) for values in history(runner).values()}
    assert lengths <= {5, 6}


def test_drain():
    scalars = DeferredScalars()
    assert scalars.drain() == []
    half = torch.tensor(0.1, dtype=torch.half, requires_grad=True)
    double = torch.tensor([0.1], dtype=torch.double)
    scalars.append(3, dict(a=half * 1, b=2))
    scalars.append(4, dict(c=double))
    assert not scalars._pending[0][1]['a'].requires_grad, 'no graph is kept'
    assert scalars.drain() == [
        (3, dict(a=half.item(), b=2)),
        (4, dict(c=double.item())),
    ]
    assert scalars.drain() == []
