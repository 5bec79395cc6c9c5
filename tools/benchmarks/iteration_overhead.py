"""What an iteration costs besides the model: MMEngine's runner and a bare loop."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmaction.registry import DATASETS, MODELS, RUNNERS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from projects.adamae.utils.sizes import height_and_width

# What MMEngine brings itself, where the shipped configs name something else.
STOCK = {
    'default_hooks.checkpoint.type': 'CheckpointHook',
    'default_hooks.runtime_info.type': 'RuntimeInfoHook',
    'train_cfg.type': 'EpochBasedTrainLoop',
    'optim_wrapper.constructor': 'DefaultOptimWrapperConstructor',
    'optim_wrapper.optimizer.fused': False,
    'custom_hooks': [],
}


@DATASETS.register_module()
class ReadyClips(Dataset):
    """Clips in memory, of a shape such as (1, 3, 16, 224, 224): no loading."""

    def __init__(self, length: int, clip: tuple[int, ...]) -> None:
        self.length = length
        self.clip = torch.randint(0, 256, tuple(clip), dtype=torch.uint8)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        return dict(inputs=self.clip, data_samples=ActionDataSample())


class EpochTimerHook(Hook):
    """Run an epoch per request, and answer with its seconds."""

    priority = 'LOWEST'

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def before_train_epoch(self, runner: Runner) -> None:
        """Wait for a request."""
        self.connection.recv()
        self.start = time.perf_counter()

    def after_train_epoch(self, runner: Runner) -> None:
        """Answer it."""
        self.connection.send(time.perf_counter() - self.start)


def serve_runner(
    connection: Connection, cfg: dict[str, Any], options: dict[str, Any]
) -> None:
    """Answer every request with the seconds of an epoch of MMEngine's runner.

    Args:
        connection (Connection): of a ``Worker``.
        cfg (dict): of :func:`toy_run`.
        options (dict): changes to it.
    """
    run = Config(cfg)
    run.merge_from_dict(options)
    with TemporaryDirectory() as folder:
        run.work_dir = folder
        run.log_level = 'ERROR'
        runner = RUNNERS.build(run)
        runner.register_hook(EpochTimerHook(connection))
        runner.train()


def serve_bare(connection: Connection, cfg: dict[str, Any]) -> None:
    """Answer every request with the seconds of an epoch of a bare loop.

    It loads, normalizes, trains and prints its loss like the runner: same model, data
    loader, parameter groups, fused AdamW and learning rate of every step.
    """
    run = Config(cfg)
    init_default_scope('mmaction')
    MMLogger.get_current_instance().setLevel('WARNING')
    model = MODELS.build(run.model).train()
    optimizer = build_optim_wrapper(model, run.optim_wrapper).optimizer
    dataset = {k: v for k, v in run.train_dataloader.dataset.items() if k != 'type'}
    loader = DataLoader(
        ReadyClips(**dataset),
        batch_size=run.train_dataloader.batch_size,
        shuffle=True,
        collate_fn=pseudo_collate,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: 1 - s / 1e9)
    mean, std = model.data_preprocessor.mean, model.data_preprocessor.std
    interval = run.default_hooks.logger.interval
    while True:
        connection.recv()
        messages = []
        start = time.perf_counter()
        for i, batch in enumerate(loader):
            clips = (torch.stack(batch['inputs']).flatten(0, 1) - mean) / std
            losses = model.loss(clips)
            loss = losses['loss_reconstruction'] + losses['loss_sampling']
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            if (i + 1) % interval == 0:
                messages.append(f'{i + 1}: {loss.item():.4f}')
        connection.send(time.perf_counter() - start)


def toy_run(cfg: Config, iterations: int) -> dict[str, Any]:
    """Make a run whose epochs are short and whose data is in memory.

    Args:
        cfg (Config): of a pre-training run; its model, hooks and schedule stay.
        iterations (int): of an epoch.

    Returns:
        dict: the run, as plain dicts that another process can read.
    """
    run = Config(
        {
            k: v
            for k, v in cfg.to_dict().items()
            if not k.startswith(('val', 'test', 'custom_imports', 'env_cfg'))
        }
    )
    backbone = run.model.backbone
    size = (backbone.num_frames, *height_and_width(backbone.img_size))
    batch = run.train_dataloader.batch_size
    run.train_dataloader = dict(
        batch_size=batch,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(type='ReadyClips', length=batch * iterations, clip=(1, 3, *size)),
    )
    run.optim_wrapper.type = 'OptimWrapper'
    run.train_cfg.max_epochs = 10_000  # until the connection is closed
    run.default_hooks.checkpoint.update(interval=20_000, every_minutes=None)
    run.default_hooks.onednn.enabled = False  # all sides multiply alike
    run.launcher = 'none'
    # As a Worker starts its process; MMEngine would warn of another.
    run.env_cfg = dict(mp_cfg=dict(mp_start_method='spawn'))
    return run.to_dict()
