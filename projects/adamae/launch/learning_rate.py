"""The learning rate of a run, and the batch that it is for."""

import copy
from collections.abc import Sequence
from math import prod

from mmengine.logging import print_log
from mmengine.runner import FlexibleRunner, Runner

from ..datasets.from_config import clips_per_video
from .distributed import warn


def scale_learning_rate(runner: Runner) -> None:
    """Scale the rate by the clips of an update, and log the rule in one line.

    MMEngine's ``auto_scale_lr`` counts the videos of one forward pass. An update takes
    ``accumulative_counts`` passes, and repeated sampling (``num_clips``, ``PerClip``,
    ``RepeatAugDataset``) several clips of a video. It also leaves ``base_lr``, which
    MMEngine logs and resumes with, as it was. So the rate is scaled here, before an
    optimizer is built; the config is left as it is.

    Args:
        runner (Runner): of a training run, before it trains; its data loader is built.

    Raises:
        ValueError: if the rate is to follow the batch, and there is no
            ``base_batch_size`` or no ``batch_size``.
    """
    cfg = runner.cfg
    rule = cfg.get('auto_scale_lr') or {}
    base, enabled = rule.get('base_batch_size'), rule.get('enable')
    if enabled and not base:
        raise ValueError(
            'auto_scale_lr: expected base_batch_size, the clips per update that '
            'optim_wrapper.optimizer.lr is for, got none; set it, or enable=False'
        )
    size = getattr(runner.train_loop.dataloader.batch_sampler, 'batch_size', None)
    if size is None:  # batches of a sampler of the user's own
        if enabled:
            raise ValueError(
                'auto_scale_lr.enable: expected train_dataloader.batch_size, which the '
                'learning rate is to follow, got a sampler of batches; set enable=False'
            )
        return
    passes = cfg.optim_wrapper.get('accumulative_counts', 1)
    try:
        clips = clips_per_video(cfg.train_dataloader.dataset)
    except ValueError:  # no pipeline: a dataset of the user's own
        clips = 1
    factors = {
        'processes': runner.world_size,
        'video' if size == 1 else 'videos': size,
        'clips': clips,
        'passes (accumulative_counts)': passes,
    }
    real = prod(factors.values())
    shown = [f'{n} {name}' for name, n in factors.items() if n > 1 or name == 'video']
    total = f' = {real} clips' if len(shown) > 1 or clips > 1 else ''
    update = f'an update takes {" x ".join(shown)}{total}'
    rate = (cfg.optim_wrapper.get('optimizer') or {}).get('lr')
    name = 'learning rate: ' + ('it' if rate is None else f'{rate:g}')
    if not base:
        print_log(f'{name}, whatever the batch; {update}', 'current')
        return

    meant = f'{name} is for {base:g} clips an update (auto_scale_lr.base_batch_size)'
    if rate is None:
        ratio = f'{real} / {base:g} of it'
    else:
        ratio = f'{rate:g} x {real} / {base:g} = {rate * real / base:.4g}'
    if enabled:
        print_log(f'{meant}; {update}, so it becomes {ratio}', 'current')
        if rate is None:  # several optimizers: left to MMEngine, which counts videos
            rule = dict(enable=True, base_batch_size=base / (clips * passes))
        else:
            wrapper = copy.deepcopy(runner.optim_wrapper)
            wrapper['optimizer']['lr'] = rate * real / base
            runner.optim_wrapper = wrapper
            rule = dict(enable=True, base_batch_size=size * runner.world_size)
        if isinstance(runner, FlexibleRunner):
            runner.strategy._auto_scale_lr = rule
        else:
            runner.auto_scale_lr = rule
        if real != base:
            _warn_of_fixed_ends(cfg.get('param_scheduler') or [])
    elif real == base:
        print_log(f'{meant}, and {update}', 'current')
    else:
        warn(
            f'{meant}, but {update}, {real / base:.3g} times as many, for which it '
            f'would be {ratio}: add --auto-scale-lr, or set '
            f'auto_scale_lr.base_batch_size={real} if the rate is meant for these'
        )


def _warn_of_fixed_ends(schedulers: Sequence[dict] | dict) -> None:
    """Warn of schedules whose end stays where the rate is scaled."""
    if not isinstance(schedulers, Sequence):
        schedulers = [schedulers]
    for index, scheduler in enumerate(schedulers):
        end = scheduler.get('eta_min')
        if end:
            warn(
                f'param_scheduler.{index}.eta_min={end:g} is not scaled with the '
                'learning rate; eta_min_ratio, a share of it, is'
            )
