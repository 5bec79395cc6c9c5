"""Runs that go as their config says and come to nothing: said before they start."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.runner import EpochBasedTrainLoop, Runner

from .distributed import warn

# Fewer updates than that hardly move the weights.
_FEW_UPDATES = 100
# Of a run, by which the end of its schedule may miss the end of the run.
_NEAR = 0.1
# With the factor that the rate begins with, where the config says none.
_WARM_UPS = {'LinearLR': 1 / 3, 'ConstantLR': 1 / 3, 'QuadraticWarmupLR': 0.0}
_DECAYS = ('CosineAnnealingLR', 'PolyLR', 'LinearLR')


def report_schedule(runner: Runner) -> None:
    """Warn of a schedule, validation or checkpoints that do not fit the run's length.

    Args:
        runner (Runner): of a training run; its data loader is built.
    """
    loop = runner.train_loop
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    length = loop.max_epochs if by_epoch else loop.max_iters
    for message in iter_warnings(runner.cfg, length, by_epoch, len(loop.dataloader)):
        warn(message)


def iter_warnings(
    cfg: Config, length: int, by_epoch: bool, steps: int
) -> Iterator[str]:
    """Find what does not fit a run's length.

    Args:
        cfg (Config): of the run.
        length (int): of the run, in epochs or iterations.
        by_epoch (bool): in which of the two.
        steps (int): iterations of an epoch.

    Yields:
        str: key, numbers, and the option to change.
    """
    unit = 'epochs' if by_epoch else 'iterations'
    key = 'train_cfg.max_epochs' if by_epoch else 'train_cfg.max_iters'
    total = length * steps if by_epoch else length
    passes = cfg.optim_wrapper.get('accumulative_counts', 1)
    updates = -(-total // passes)
    if updates < _FEW_UPDATES:
        each = f' of {steps} steps' if by_epoch else ''
        several = f', {passes} steps an update' if passes > 1 else ''
        enough = -(-length * _FEW_UPDATES // updates)
        yield (
            f'{key}={length}: the run updates the weights {updates} times in all '
            f'({length} {unit}{each}{several}), which hardly trains them; set '
            f'--cfg-options {key}={enough} or more, with warm-up to match'
        )
    yield from _iter_schedule_warnings(cfg, length, by_epoch, steps)

    begin = cfg.train_cfg.get('val_begin', 1)
    if cfg.get('val_dataloader') and begin > length:
        yield (
            f'train_cfg.val_begin={begin}: the run has {length} {unit}, so it is never '
            'validated; set --cfg-options train_cfg.val_begin=1, or say --no-validate'
        )
    hook = (cfg.get('default_hooks') or {}).get('checkpoint')
    if not isinstance(hook, Mapping):
        if hook is None and 'checkpoint' in (cfg.get('default_hooks') or {}):
            yield (
                'default_hooks.checkpoint=None: no weights are saved, at no time; take '
                'it out of the config'
            )
        return
    interval = hook.get('interval', -1)
    is_same = hook.get('by_epoch', True) == by_epoch
    never = interval <= 0 or (is_same and interval > length)
    if never and not hook.get('save_last', True) and not hook.get('save_best'):
        yield (
            f'default_hooks.checkpoint.interval={interval}: the run has {length} '
            f'{unit} and save_last=False, so no weights are left at its end; set '
            '--cfg-options default_hooks.checkpoint.save_last=True'
        )


def _iter_schedule_warnings(
    cfg: Config, length: int, by_epoch: bool, steps: int
) -> Iterator[str]:
    schedulers = cfg.get('param_scheduler') or []
    if not isinstance(schedulers, Sequence):
        schedulers = [schedulers]
    for index, scheduler in enumerate(schedulers):
        key = f'param_scheduler.{index}'
        if not isinstance(scheduler, Mapping):  # one for each of several optimizers
            return
        counts_epochs = scheduler.get('by_epoch', True)
        if counts_epochs and not by_epoch:
            if not scheduler.get('convert_to_iter_based'):
                yield (
                    f'{key}.by_epoch=True: the run counts iterations, so this schedule '
                    f'stays where it begins; set --cfg-options {key}.by_epoch=False, '
                    'with begin, end and T_max in iterations'
                )
                continue
            here: float = length / steps
        else:
            here = length if counts_epochs else length * (steps if by_epoch else 1)
        unit = 'epochs' if counts_epochs else 'iterations'
        begin, end = scheduler.get('begin', 0), scheduler.get('end') or here
        following = schedulers[index + 1] if index + 1 < len(schedulers) else {}
        if _is_warm_up(scheduler):
            if end > here / 2 and here > 2:
                sooner = max(round(here / 10), begin + 1)
                options = f'{key}.end={sooner}'
                if following.get('begin') == scheduler.get('end'):
                    options += f' param_scheduler.{index + 1}.begin={sooner}'
                lost = (
                    'so the learning rate never reaches what the config says'
                    if end > here
                    else 'more than half of it'
                )
                yield (
                    f'{key}: warm-up takes {end:g} {unit} and the run has {here:g}, '
                    f'{lost}; set --cfg-options {options}'
                )
        elif not following and scheduler.get('type') in _DECAYS:
            yield from _iter_decay_warnings(key, scheduler, begin, end, here, unit)


def _is_warm_up(scheduler: Mapping[str, Any]) -> bool:
    factor = _WARM_UPS.get(str(scheduler.get('type')))
    if factor is None:
        return False
    start = scheduler.get('start_factor', scheduler.get('factor', factor))
    return start < scheduler.get('end_factor', 1)


def _iter_decay_warnings(
    key: str,
    scheduler: Mapping[str, Any],
    begin: int,
    end: float,
    length: float,
    unit: str,
) -> Iterator[str]:
    """Compare the last schedule with the end of the run."""
    name, period = 'end', scheduler.get('T_max')
    last = end
    # A period of its own counts from the beginning of the schedule.
    if period is not None and begin + period != end:
        name, last = 'T_max', begin + period
    if abs(last - length) <= _NEAR * length:
        return
    if last > length:
        what = 'the learning rate is still on its way down when the run ends'
    elif name == 'T_max' and end > last:
        what = 'the learning rate rises again after that'
    else:
        what = f'the learning rate stays where it is for the last {length - last:g}'
    wanted = length - begin if name == 'T_max' else length
    yield (
        f'{key}.{name}: {scheduler["type"]} is done after {last:g} {unit}, and the run '
        f'after {length:g}: {what}; set --cfg-options {key}.{name}={wanted:g}'
        + f' {key}.end={length:g}'
        * (name == 'T_max' and end != length)
    )
