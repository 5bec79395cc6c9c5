"""Load no checkpoint by halves."""

from __future__ import annotations

from typing import Any

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner, find_latest_checkpoint

from ...checkpoints import Purpose, fit_checkpoint
from ...utils.wrappers import unwrap_model


@HOOKS.register_module()
class CheckpointCheckHook(Hook):
    """Refuse checkpoints of another architecture, adapt what may be adapted.

    MMEngine logs what does not fit and goes on with random weights. What is adapted
    instead of refused, and when, is told at ``fit_checkpoint``.
    """

    # Before EMAHook, which copies the weights.
    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Check the weights, after reading them and before the model gets them.

        Args:
            runner (Runner): the runner.
            checkpoint (dict): content of the file, changed in place.

        Raises:
            CheckpointMismatch: if they do not fit.
        """
        model = unwrap_model(runner.model)
        purpose: Purpose
        if runner._resume:
            purpose = 'resume'
        else:
            # The loop is built by Runner.train and stays a config otherwise.
            training = isinstance(runner._train_loop, BaseLoop)
            purpose = 'train' if training else 'test'
        fit_checkpoint(
            checkpoint,
            model,
            purpose,
            runner._load_from or find_latest_checkpoint(runner.work_dir),
        )
