"""Stop a run whose numbers have become NaN or infinite."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from projects.adamae_command import command_line

from ...utils.wrappers import unwrap_model
from . import fault_report as report
from .deferred import DeferredScalars, logs_after
from .update_guard import Later, UpdateGuard, enabled_scaler

ADVICE = (
    'Resume from the checkpoint before, with a lower learning rate, with gradient '
    'clipping (optim_wrapper.clip_grad.max_norm=1.0), or with dtype=bfloat16 instead '
    'of float16'
)
_SKIPPED = 'skipped_updates'  # what checkpoints call their number
_NAMED = 3  # of a batch, in the one line that ends a run


@dataclass
class _Step:
    """What it takes to repeat a forward and backward pass."""

    iteration: int
    epoch: int
    batch: Any
    random_state: dict[str, Any]
    outputs: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Update:
    """Steps whose gradients went into one update, and what became of it."""

    steps: list[_Step]
    groups: list[dict[str, Any]]  # settings of the optimizer
    scale: torch.Tensor | None  # of the loss
    count: Later


@HOOKS.register_module()
class FiniteCheckHook(Hook):
    """Leave out an update with a loss or gradient that is not finite, and stop.

    The run ends with one line: iteration, process, cause and videos. A file in the work
    folder, ``fault_iter_N_rank_R.pth``, of each process whose own numbers were bad, has
    weights and optimizer state from before the step, the batch, and the random states:
    ``tools/replay.py`` repeats the step with it. How nothing waits for a GPU is told at
    :class:`UpdateGuard`: the batches of the last two updates are kept, as they left the
    data loader.

    Diagnostics are checked where the logger reads them, weights, buffers and optimizer
    state before they are saved: no checkpoint holds a NaN, or a second moment that has
    overflowed. (The released AdaMAE code replaces NaN logits by 0, which hides the
    divergence.)

    Sharded runs (FSDP) stop and name the iteration, but write no report.

    Args:
        max_skipped (int): so many bad updates are left out, with a warning that names
            the videos; the next one ends the run. Defaults to 0.

    Raises:
        ValueError: if ``max_skipped`` is negative.
    """

    priority = 'VERY_HIGH'

    def __init__(self, max_skipped: int = 0) -> None:
        if max_skipped < 0:
            raise ValueError(f'max_skipped: expected 0 or more, got {max_skipped}')
        self.max_skipped = max_skipped
        self._pending = DeferredScalars()
        self._guard: UpdateGuard | None = None
        self._steps: list[_Step] = []
        self._unread: deque[_Update] = deque()
        self._bad = 0

    def before_train(self, runner: Runner) -> None:
        """Guard the updates, if one optimizer makes them."""
        wrapper = runner.optim_wrapper
        if isinstance(wrapper, OptimWrapper):
            self._guard = UpdateGuard(wrapper, self.max_skipped)
            saved = runner.message_hub.runtime_info.get(_SKIPPED)
            if isinstance(saved, int) and saved > 0:  # of a resumed run
                self._bad = min(saved, self.max_skipped)
                self._guard.count += self._bad

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Keep the batch and the random states."""
        if self._guard is not None:
            state = report.random_state(self._guard.count.device)
            self._steps.append(_Step(runner.iter, runner.epoch, data_batch, state))
            self._updates_before = self._guard.updates

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Look at the update before this one, on a CPU at this one.

        Raises:
            FloatingPointError: if a number is NaN or infinite; names the first
                iteration that had one, and the cause.
        """
        if self._guard is None:
            self._pending.append(runner.iter, outputs or {})
        else:
            self._steps[-1].outputs = outputs or {}
            if self._guard.updates > self._updates_before:
                self._unread.append(self._close(runner.optim_wrapper))
                self._steps = []
            self._read(runner, leave=int(self._guard.reads_late))
        if logs_after(runner, batch_idx):
            self._check()

    def read_all(self, runner: Runner) -> None:
        """Look at the last update, too; to be called on all processes.

        Raises:
            FloatingPointError: if it was bad.
        """
        self._read(runner)

    after_train_epoch = read_all

    def _close(self, wrapper: OptimWrapper) -> _Update:
        """Take the steps whose update has just been made."""
        assert self._guard is not None
        groups = [
            {k: v for k, v in group.items() if k not in ('params', 'param_names')}
            for group in wrapper.optimizer.param_groups
        ]
        count = Later(self._guard.count)
        return _Update(self._steps, groups, self._guard.scale, count)

    def _read(self, runner: Runner, leave: int = 0) -> None:
        """Find out what became of updates, but for the last ones."""
        while len(self._unread) > leave:
            update = self._unread.popleft()
            count = int(update.count.read())
            if count == self._bad:
                for step in update.steps:
                    self._pending.append(step.iteration, step.outputs)
            elif count > self.max_skipped:
                self._stop(runner, update)
            else:
                self._bad = count
                runner.message_hub.update_info(_SKIPPED, count)
                self._tell_of_skipped(runner, update.steps)

    def _tell_of_skipped(self, runner: Runner, steps: list[_Step]) -> None:
        is_bad = any(_cause(step.outputs) for step in steps)
        own = f'{_numbers(steps[-1].outputs)}; batch: {_names(steps)}'
        lines = [(is_bad, own)]
        if get_world_size() > 1:
            lines = all_gather_object(lines[0])
        every = not any(bad for bad, _ in lines)  # none has a bad loss of its own
        told = [f'rank {r}: {t}' for r, (bad, t) in enumerate(lines) if bad or every]
        runner.logger.warning(
            f'iteration {steps[-1].iteration + 1}: the update is left out, a loss or '
            f'gradient is not finite (number {self._bad} of at most '
            f'{self.max_skipped}); {"; ".join(told)}'
        )

    def _stop(self, runner: Runner, update: _Update) -> None:
        """Find the process and the cause, write the report, and end the run."""
        rank, model = get_rank(), unwrap_model(runner.model)
        wrapper = runner.optim_wrapper
        sharded = any(hasattr(p, 'to_local') for p in model.parameters())
        scale = 1.0 if update.scale is None else update.scale.item()
        found = []
        for step in update.steps:
            bad = [k for k, v in _floats(step.outputs).items() if not isfinite(v)]
            grads: dict[str, torch.Tensor] = {}
            if not sharded:
                _set_scale(wrapper, scale)
                _, grads = report.repeat_step(
                    model, wrapper, step.batch, step.random_state
                )
            names = report.bad_gradients(grads, scale)
            found.append((bool(bad or names), step, grads, names))
        is_bad, step, grads, names = next((f for f in found if f[0]), found[-1])
        iteration = step.iteration + 1
        path = Path(runner.work_dir) / f'fault_iter_{iteration}_rank_{rank}.pth'
        if cause := _cause(step.outputs):
            cause += ' became non-finite'
        elif names:
            cause = (
                f'{len(names)} of {len(grads)} gradients, such as that of {names[0]}, '
                'are not finite, or too large to square'
            )
        else:
            cause = 'the gradients are not finite, or too large to square'
        line = (
            f'iteration {iteration}, rank {rank}: {cause} ({_numbers(step.outputs)}); '
            f'batch: {_names([step], _NAMED)}'
        )
        # Of all processes, those with bad numbers of their own; else the sum was bad.
        where = [is_bad]
        if get_world_size() > 1:
            where = all_gather_object(is_bad)
        involved = is_bad or not any(where)
        if involved and not sharded:
            content = dict(
                iteration=iteration,
                epoch=step.epoch,
                rank=rank,
                world_size=get_world_size(),
                seed=runner.seed,
                passes=len(update.steps),
                paths=report.sample_paths(step.batch),
                batch=step.batch,
                random_state=step.random_state,
                losses=_floats(step.outputs),
                gradients=report.digests(grads),
                bad_gradients=names,
                state_dict=model.state_dict(),
                optimizer=_state_before(wrapper, update.groups, scale),
                config=runner.cfg.pretty_text,
                torch=torch.__version__,
                device=str(self._guard.count.device) if self._guard else '',
            )
            try:
                report.write_report(path, content)
            except OSError as error:
                line += f'. No report is written: {error}'
            else:
                # MMEngine writes it there, with the options of the command line.
                config = path.with_name(Path(runner.cfg.filename or 'CONFIG').name)
                line += f'. Repeat it with: {command_line("replay.py", config, path)}'
        if involved:
            runner.logger.error(f'{line}; whole batch: {_names([step])}')
        lines = [line] if get_world_size() == 1 else all_gather_object(line)
        lines = [text for text, bad in zip(lines, where, strict=True) if bad] or lines
        raise FloatingPointError(f'{"; ".join(lines)}. {ADVICE}')

    def _check(self) -> None:
        for iteration, values in self._pending.drain():
            floats = {k: v for k, v in values.items() if isinstance(v, float)}
            if cause := _cause(floats):
                raise FloatingPointError(
                    f'iteration {iteration + 1}: {cause} became non-finite '
                    f'({_numbers(floats)}). {ADVICE}'
                )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check what is about to be saved, and the numbers so far.

        Raises:
            FloatingPointError: if a weight, a buffer, the optimizer's state or a number
                so far is NaN or infinite; nothing is written.
        """
        self._check()
        names = [k for k, v in checkpoint['state_dict'].items() if report.is_bad(v)]
        optimizer = report.bad_state(checkpoint.get('optimizer', {}))
        names += [f"the optimizer's state {name}" for name in optimizer]
        if names:
            more = f' (and {len(names) - 1} more)' if len(names) > 1 else ''
            raise FloatingPointError(
                f'iteration {runner.iter + 1}: {names[0]}{more} is non-finite, so this '
                f'checkpoint is not written. {ADVICE}'
            )


def _cause(outputs: dict[str, Any]) -> str:
    """Say what is not finite among numbers of a step, '' if nothing is."""
    bad = {k for k, v in _floats(outputs).items() if not isfinite(v)}
    # Both come from the sampler's logits, the reconstruction does not.
    if not {'sampler_entropy', 'loss_sampling'} & bad:
        return 'the loss' if bad else ''
    cause = "the token sampler's logits"
    if 'loss_reconstruction' in bad:
        cause += ' and the reconstruction (most likely their common input)'
    return cause


def _floats(outputs: dict[str, Any]) -> dict[str, float]:
    return {
        k: v.item() if torch.is_tensor(v) else float(v)
        for k, v in outputs.items()
        if isinstance(v, float) or (torch.is_tensor(v) and v.numel() == 1)
    }


def _numbers(outputs: dict[str, Any]) -> str:
    """List the numbers that are not finite, or all if they are."""
    floats = _floats(outputs)
    bad = {k: v for k, v in floats.items() if not isfinite(v)} or floats
    return ', '.join(f'{name}={value:.4g}' for name, value in bad.items())


def _names(steps: list[_Step], most: int | None = None) -> str:
    paths = [path for step in steps for path in report.sample_paths(step.batch)]
    rest = len(paths) - len(paths[:most])
    return ', '.join(paths[:most]) + (f' and {rest} more' if rest else '')


def _set_scale(wrapper: OptimWrapper, scale: float) -> None:
    """Return to the loss scale that a step had."""
    scaler = enabled_scaler(wrapper)
    if scaler is not None:
        scaler.update(scale)


def _state_before(
    wrapper: OptimWrapper, groups: list[dict[str, Any]], scale: float
) -> dict[str, Any]:
    """Return the state of an optimizer with the settings that a step had."""
    _set_scale(wrapper, scale)
    state = wrapper.state_dict()
    known = [
        {**now, **then} for now, then in zip(state['param_groups'], groups, strict=True)
    ]
    return {**state, 'param_groups': known}
