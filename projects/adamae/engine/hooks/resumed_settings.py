"""A resumed run follows the config it is resumed with."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Iterator
from typing import Any

from mmengine.hooks import CheckpointHook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner

from ..loops.resumable import ResumableLoop

# What the state of a scheduler holds beside its settings.
_PROGRESS = ('last_step', '_global_step', '_last_value', 'verbose')


def follow_config(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Put the settings of a run into the checkpoint that it is resumed from.

    MMEngine restores iteration, schedules and settings of the optimizer as they were
    saved: on another number of processes, with another batch size, learning rate or
    ``max_epochs``, a run would end at the wrong rate. Here learning rates are those
    that an unbroken run of the new config has after as many epochs (iterations, where a
    run counts these). What changed is logged in one line. A schedule that depends on
    metrics goes on as it was saved.

    Args:
        runner (Runner): about to resume; optimizer and schedulers are built.
        checkpoint (dict): content of the file, changed in place.
    """
    meta = checkpoint['meta']
    loop = runner.train_loop
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    length = len(loop.dataloader)
    changes = []
    saved_iter = meta['iter']
    position = meta.get('data_position')
    started = 0  # iterations of an epoch that was interrupted
    if isinstance(loop, ResumableLoop):
        rest = saved_iter - meta['epoch'] * length if by_epoch else saved_iter
        if not position and by_epoch and not 0 < rest < length:
            rest = 0
        at = position or loop.position_after(rest)
        started = loop.start_at(at)
        videos = at['videos_per_iteration'], loop.videos_per_iteration
        if videos[0] != videos[1]:
            changes.append(
                f'videos per iteration {videos[0]} -> {videos[1]} (the data goes on '
                'where it was, but the result will not equal that of an unbroken run)'
            )
    if by_epoch:
        # MMEngine's loop begins an epoch anew that was interrupted.
        meta['iter'] = meta['epoch'] * length + started
        if position:
            steps = position['length']
        elif meta['iter'] == saved_iter:
            steps = length
        else:
            steps = saved_iter / max(meta['epoch'], 1)
        if steps != length:
            changes.append(f'iterations per epoch {steps:g} -> {length}')
    key = 'max_epochs' if by_epoch else 'max_iters'
    old_end, end = _runtime_info(checkpoint).get(key), getattr(runner, key)
    if old_end not in (None, end):
        changes.append(f'{key} {old_end} -> {end}')
    done = meta['epoch' if by_epoch else 'iter']
    if done >= end:
        runner.logger.warning(
            f'Nothing is left to train: the checkpoint is at {done} of '
            f'train_cfg.{key}={end}; raise that to go on'
        )

    for wrapper, schedulers, state, saved in _optimizers(runner, checkpoint):
        groups = wrapper.param_groups
        old_groups = [*state.get('param_groups', [])]
        if state.get('base_param_settings'):
            old_groups.append(state['base_param_settings'])
        old_rate = _rates(state.get('param_groups', []))
        scheduled = {scheduler.param_name for scheduler in schedulers}
        scheduled |= {f'initial_{name}' for name in scheduled}
        if 'momentum' in scheduled:
            scheduled.add('betas')  # Adam's momentum is the first
        settings = {*inspect.signature(type(wrapper.optimizer)).parameters}
        settings = (settings | {'lr', 'weight_decay'}) - {'params'}

        old = [_settings(scheduler) for scheduler in saved or []]
        new = [_settings(scheduler.state_dict()) for scheduler in schedulers]
        if any(getattr(scheduler, 'need_val_args', False) for scheduler in schedulers):
            settings -= scheduled
            changes.append('but the schedule, as it depends on metrics')
        elif meta['iter'] == saved_iter and saved is not None and old == new:
            settings -= scheduled
        else:
            _replay(schedulers, meta['iter'], length if by_epoch else None)
            settings |= scheduled
            if saved is not None:
                saved[:] = [scheduler.state_dict() for scheduler in schedulers]

        if len(groups) != len(old_groups):
            continue  # loading them will fail, or there are none
        kept = [*settings - scheduled - {'lr'}]
        before = [{k: g[k] for k in kept if k in g} for g in old_groups]
        for old_group, group in zip(old_groups, groups, strict=True):
            if 'lr' not in scheduled:
                old_group.pop('initial_lr', None)
            old_group.update({k: group[k] for k in settings if k in group})
        changes += _changed_values(before, groups)
        rate = _rates(state['param_groups'])
        if rate[0] != old_rate[0]:
            changes.append(f'learning rate {old_rate[0]:g} -> {rate[0]:g}')
        if rate[1] != old_rate[1]:
            changes.append(
                f'at this point of the schedule {old_rate[1]:g} -> {rate[1]:g}'
            )
    if changes:
        runner.logger.warning(
            f'Resumed with the settings of the config, not those of the checkpoint: '
            f'{", ".join(changes)}'
        )


def relocate_checkpoints(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Let a run that was moved or copied name, and remove, its own checkpoints only.

    MMEngine saves absolute paths, and removes the best checkpoint so far when there is
    a better one: a resumed copy would remove that of the original. A file that the run
    cannot have saved is forgotten: it, or the folder it names, would be removed.

    Args:
        runner (Runner): about to resume.
        checkpoint (dict): content of the file, changed in place.
    """
    folder = runner.work_dir
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.out_dir:
            folder = os.path.join(hook.out_dir, os.path.basename(runner.work_dir))
    info = _runtime_info(checkpoint)
    for key, path in [*info.items()]:
        if key.startswith(('best_ckpt', 'last_ckpt')) and path is not None:
            name = os.path.basename(str(path))
            if name.startswith('best_') or key.startswith('last_ckpt'):
                info[key] = os.path.join(folder, name)
            else:
                info[key] = None
    if 'keep_ckpt_ids' in info:
        numbers = info['keep_ckpt_ids']
        numbers = numbers if isinstance(numbers, list) else []
        info['keep_ckpt_ids'] = [n for n in numbers if type(n) is int]


def _runtime_info(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return (checkpoint.get('message_hub') or {}).get('runtime_info') or {}


def _optimizers(
    runner: Runner, checkpoint: dict[str, Any]
) -> Iterator[tuple[OptimWrapper, list, dict[str, Any], list | None]]:
    """Yield every optimizer, its schedulers, and the saved states of both."""
    schedulers = runner.param_schedulers or []
    states = checkpoint.get('optimizer') or {}
    saved = checkpoint.get('param_schedulers')
    if not isinstance(runner.optim_wrapper, OptimWrapperDict):
        yield runner.optim_wrapper, schedulers, states, saved
        return
    for name, wrapper in runner.optim_wrapper.items():
        yield (
            wrapper,
            schedulers[name] if schedulers else [],
            states.get(name, {}),
            saved[name] if saved else None,
        )


def _settings(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key not in _PROGRESS}


def _replay(schedulers: list, iterations: int, epoch_length: int | None) -> None:
    """Step schedulers as MMEngine's hook does; they compute each value from the last.

    Args:
        schedulers (list): as they were built.
        iterations (int): how many to go.
        epoch_length (int | None): iterations of an epoch, where a run has epochs.
    """
    by_iter = [s for s in schedulers if not s.by_epoch]
    by_epoch = [s for s in schedulers if s.by_epoch]
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Detected call of `scheduler.step')
        for iteration in range(1, iterations + 1):
            for scheduler in by_iter:
                scheduler.step()
            if epoch_length and iteration % epoch_length == 0:
                for scheduler in by_epoch:
                    scheduler.step()


def _rates(groups: list[dict[str, Any]]) -> tuple[float, float]:
    """Give the largest learning rates of groups: before a schedule, and now."""
    return (
        max((group.get('initial_lr', group['lr']) for group in groups), default=0.0),
        max((group['lr'] for group in groups), default=0.0),
    )


def _changed_values(
    before: list[dict[str, Any]], groups: list[dict[str, Any]]
) -> list[str]:
    """Describe the settings in which groups differ, each by the first that does."""
    changed: dict[str, str] = {}
    for old, group in zip(before, groups, strict=True):
        for key, value in old.items():
            if key in group and group[key] != value:
                changed.setdefault(key, f'{key} {value} -> {group[key]}')
    return [changed[key] for key in sorted(changed)]
