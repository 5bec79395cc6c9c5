"""What a config gets wrong, found before anything is built."""

from collections.abc import Sequence
from typing import Any

import torch
from mmaction.engine.optimizers import LearningRateDecayOptimizerConstructor
from mmaction.models.backbones.vit_mae import VisionTransformer
from mmaction.registry import HOOKS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import STRATEGIES, Registry
from mmengine.runner import Runner

from ..engine.hooks import KnnHook
from ..engine.hooks.compile_hook import compile_options
from ..engine.sharded_strategy import ShardedStrategy


def check_views(cfg: Config, splits: Sequence[str]) -> None:
    """Find a limit on test views where several videos make a batch.

    Args:
        cfg (Config): the config of the run.
        splits (Sequence[str]): of 'val' and 'test', those that the run reads.

    Raises:
        ValueError: if there is one, which MMAction2 only notices when it tests.
    """
    limit = (cfg.model.get('test_cfg') or {}).get('max_testing_views')
    for split in splits if limit else ():
        size = (cfg.get(f'{split}_dataloader') or {}).get('batch_size', 1)
        if size != 1:
            raise ValueError(
                f'model.test_cfg.max_testing_views={limit}: expected one video a '
                f'batch, got {split}_dataloader.batch_size={size}; set it to 1 with '
                f'--cfg-options {split}_dataloader.batch_size=1'
            )


def check_layer_decay(cfg: Config) -> None:
    """Compare the layers of a layer-wise learning rate with those of the encoder.

    With fewer, the last blocks would learn faster than the classifier; with more,
    everything but the classifier more slowly than said.

    Args:
        cfg (Config): of a training run.

    Raises:
        ValueError: if they are not as many.
    """
    wrapper, backbone = cfg.optim_wrapper, cfg.model.get('backbone') or {}
    constructor = registered(OPTIM_WRAPPER_CONSTRUCTORS, wrapper.get('constructor'))
    if not _is_a(constructor, LearningRateDecayOptimizerConstructor) or not _is_a(
        registered(MODELS, backbone.get('type')), VisionTransformer
    ):
        return
    layers = (wrapper.get('paramwise_cfg') or {}).get('num_layers')
    depth = backbone.get('depth', 12)
    if layers != depth:
        raise ValueError(
            f'optim_wrapper.paramwise_cfg.num_layers: expected {depth}, as in '
            f'model.backbone.depth, got {layers}; set both, for example '
            f'--cfg-options optim_wrapper.paramwise_cfg.num_layers={depth}'
        )


def check_schedule(cfg: Config) -> None:
    """Find schedules that begin after the run has ended, as after shortening it.

    Args:
        cfg (Config): of a training run.

    Raises:
        ValueError: if one does; names the options to change.
    """
    schedulers = cfg.get('param_scheduler') or []
    if not isinstance(schedulers, Sequence):
        schedulers = [schedulers]
    for index, scheduler in enumerate(schedulers):
        by_epoch = scheduler.get('by_epoch', True)
        length = cfg.train_cfg.get('max_epochs' if by_epoch else 'max_iters')
        begin = scheduler.get('begin', 0)
        if length is not None and begin >= length:
            unit = 'epochs' if by_epoch else 'iterations'
            raise ValueError(
                f'param_scheduler.{index}: begins after {begin} {unit}, but the run '
                f'has only {length}; shorten what comes before it too, for example '
                f'--cfg-options param_scheduler.{max(index - 1, 0)}.end=1 '
                f'param_scheduler.{index}.begin=1'
            )


def check_hooks(cfg: Config) -> None:
    """Find hooks that cannot read a model whose weights are spread over processes.

    Args:
        cfg (Config): of a training run.

    Raises:
        ValueError: if there is one.
    """
    strategy = registered(STRATEGIES, (cfg.get('strategy') or {}).get('type'))
    if not _is_a(strategy, ShardedStrategy):
        return
    hooks = {**(cfg.get('default_hooks') or {})}
    hooks.update(enumerate(cfg.get('custom_hooks') or []))
    for place, hook in hooks.items():
        is_built = isinstance(hook, Hook)
        kind = type(hook) if is_built else registered(HOOKS, (hook or {}).get('type'))
        if _is_a(kind, KnnHook) or _is_a(kind, EMAHook):
            key = 'default_hooks' if isinstance(place, str) else 'custom_hooks'
            raise ValueError(
                f'{key}.{place}: {kind.__name__} needs whole weights, and '
                'ShardedStrategy spreads them; leave out one of the two'
            )


def check_compile(cfg: Config) -> None:
    """Find arguments of ``torch.compile`` that it does not take.

    Args:
        cfg (Config): of a training run.

    Raises:
        ValueError: if there are any.
    """
    options = compile_options(cfg.get('compile', False))
    if options is not None:
        try:
            torch.compile(torch.nn.Identity(), **options)
        except (RuntimeError, TypeError, AttributeError, AssertionError) as error:
            raise ValueError(
                f'compile: expected arguments of torch.compile, got {options}: {error}'
            ) from error


def check_length(runner: Runner) -> None:
    """Find a training set that is smaller than a batch, which would train nothing.

    Args:
        runner (Runner): of a training run; its data loader is built.

    Raises:
        ValueError: if no batch can be made.
    """
    loader = runner.train_loop.dataloader
    if len(loader) == 0:
        processes = f' on {runner.world_size} processes' if runner.distributed else ''
        raise ValueError(
            f'train_dataloader: {len(loader.dataset)} videos do not make one batch of '
            f'{loader.batch_size}{processes}; lower it with --cfg-options '
            'train_dataloader.batch_size=N'
        )


def registered(registry: Registry, kind: Any) -> Any:
    """Look a class up by its registered name; a class passes through."""
    return registry.get(kind) if isinstance(kind, str) else kind


def _is_a(kind: Any, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)
