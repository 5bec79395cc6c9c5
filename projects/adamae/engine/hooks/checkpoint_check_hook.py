"""Reject a checkpoint that does not fit the model."""

from __future__ import annotations

from typing import Any

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner, find_latest_checkpoint

from ...checkpoints import Purpose, adapt_checkpoint
from ...utils.wrappers import unwrap_model
from .resumed_settings import follow_config, relocate_checkpoints


@HOOKS.register_module()
class CheckpointCheckHook(Hook):
    """Reject checkpoints of another architecture, adapt what may be adapted.

    MMEngine logs what does not fit and goes on with random weights. What is adapted
    instead of rejected, and when, is documented at ``adapt_checkpoint``; what of a
    resumed run follows its config, at ``follow_config``.
    """

    # Before EMAHook, which copies the weights.
    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Check the weights, after reading them and before the model gets them.

        A resumed run gets the settings of its config, see ``follow_config``.

        Args:
            runner (Runner): the runner.
            checkpoint (dict): content of the file, changed in place.

        Raises:
            CheckpointMismatch: if they do not fit.
        """
        model = unwrap_model(runner.model)
        purpose, path = _purpose_and_path(runner)
        adapt_checkpoint(checkpoint, model, purpose, path)
        if purpose == 'resume':
            relocate_checkpoints(runner, checkpoint)
            follow_config(runner, checkpoint)


def _purpose_and_path(runner: Runner) -> tuple[Purpose, str]:
    """Say what a checkpoint is loaded for: private names of MMEngine 0.10.7."""
    path = runner._load_from or find_latest_checkpoint(runner.work_dir)
    if runner._resume:
        return 'resume', path
    # The loop is built by Runner.train and stays a config otherwise.
    return 'train' if isinstance(runner._train_loop, BaseLoop) else 'test', path
