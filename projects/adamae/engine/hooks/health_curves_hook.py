"""Curves of what a learned sampler does."""

from __future__ import annotations

from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ...analysis.health import sampling_curves
from ...models.mae_recognizer import MAERecognizer
from ...models.tokens import effective_tokens
from ...utils.wrappers import unwrap_model
from .deferred import DeferredScalars, logs_after

# Not in the line of the log, one for each time step or zone there.
_TIME, _DISTANCE = 'health/probability_time_', 'health/probability_distance_'


@HOOKS.register_module()
class HealthCurvesHook(Hook):
    """Log numbers of the sampling distribution while a model is pre-trained.

    Every few iterations, from what the step has computed anyway, averaged over the
    clips of all processes: the names are in docs/training.md, "Is the run healthy?".
    They stay on the device until the log is written; nothing is drawn at random. Does
    nothing where no sampler learns, as in fine-tuning.

    Args:
        interval (int): iterations from one measurement to the next. Defaults to 50.
    """

    def __init__(self, interval: int = 50) -> None:
        self.interval = interval
        self._pending = DeferredScalars()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Measure if it is due, and pass numbers on where the log is written."""
        if self.every_n_train_iters(runner, self.interval):
            self._measure(runner)
        if logs_after(runner, batch_idx):
            self._pass_on(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Pass on what a run that is resumed from here would not measure again."""
        self._pass_on(runner)

    def _measure(self, runner: Runner) -> None:
        model = unwrap_model(runner.model)
        if not isinstance(model, MAERecognizer) or model.last_step is None:
            return
        curves = sampling_curves(model.last_step, model.backbone.token_grid)
        if not curves:
            return
        clips = len(model.last_step.ids)
        values = torch.stack([*curves.values()])
        # One exchange, and not when the numbers are read: that is not on all processes.
        sums = torch.cat([values.sum(dim=1), values.new_full((1,), clips)])
        all_reduce(sums)
        means = (sums[:-1] / sums[-1]).unbind()
        names = (f'health/{name}' for name in curves)
        self._pending.append(runner.iter, dict(zip(names, means, strict=True)))

    def _pass_on(self, runner: Runner) -> None:
        for iteration, scalars in self._pending.drain():
            tokens = unwrap_model(runner.model).sampler.num_tokens
            scalars['health/effective_tokens'] = effective_tokens(
                scalars['health/entropy'], tokens
            )
            runner.visualizer.add_scalars(scalars, step=iteration + 1)
            runner.logger.info(f'Iter(health) [{iteration + 1}]  {_line(scalars)}')


def _line(scalars: dict[str, float]) -> str:
    """Put scalars into a line, those of a profile next to each other."""
    single = {k: v for k, v in scalars.items() if not k.startswith((_TIME, _DISTANCE))}
    parts = [f'{name}: {value:.4g}' for name, value in single.items()]
    for prefix in (_TIME, _DISTANCE):
        values = [f'{v:.2f}' for k, v in scalars.items() if k.startswith(prefix)]
        parts.append(f'{prefix.rstrip("_")}: {" ".join(values)}')
    return '  '.join(parts)
