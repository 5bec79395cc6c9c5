"""Training numbers for the log, without a wait for the device every iteration."""

from __future__ import annotations

from typing import Any

from mmaction.registry import HOOKS
from mmengine.hooks import RuntimeInfoHook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from .deferred import DeferredScalars, logs_after


@HOOKS.register_module()
class DeferredInfoHook(RuntimeInfoHook):
    """MMEngine's ``RuntimeInfoHook``, reading the device only where the logger does.

    The stock hook calls ``.item()`` on every number of every iteration, and clipping
    does so with the norm: the host waits until the GPU has nothing left to do. Here
    the numbers of all iterations since the last log are fetched in one copy. All of
    them still get into the history, so logged means are the same.

    MMEngine also keeps a million values of each number, copies them all in every
    iteration and saves them in every checkpoint; here there are ``history`` of them.

    Args:
        history (int): how many values of a training number are kept, at least the
            longest window of ``log_processor``. Defaults to 1000.
    """

    def __init__(self, history: int = 1000) -> None:
        self.history = history
        self._pending = DeferredScalars()
        self._norm: dict[str, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Set up as MMEngine does, and defer the norm of clipping."""
        super().before_train(runner)
        self._defer_norm(runner.optim_wrapper)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Keep the numbers of an iteration, and pass them on where they are logged."""
        self._pending.append(runner.iter, {**self._norm, **(outputs or {})})
        self._norm = {}
        if logs_after(runner, batch_idx):
            self._pass_on(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the numbers that were not logged yet to the checkpoint."""
        self._pass_on(runner)
        state = runner.message_hub.state_dict()
        for part in ('log_scalars', 'resumed_keys'):
            checkpoint['message_hub'][part] = state[part]

    def _pass_on(self, runner: Runner) -> None:
        """Give the message hub what the stock hook gives it, later."""
        hub = runner.message_hub
        for _, values in self._pending.drain():
            for name, value in values.items():
                hub.update_scalar(f'train/{name}', value)
        for name, buffer in hub.log_scalars.items():
            if name.startswith('train/'):
                buffer.max_length = self.history

    def _defer_norm(self, wrapper: OptimWrapper) -> None:
        """Have clipping hand its norm to this hook instead of reading it."""
        clip = getattr(wrapper, 'clip_func', None)
        if clip is None:
            return

        def clip_and_keep(*args: Any, **kwargs: Any) -> None:
            norm = clip(*args, **kwargs)
            if norm is not None:
                self._norm[wrapper.grad_name] = norm

        # MMEngine reads the norm unless it is None.
        wrapper.clip_func = clip_and_keep
