"""Stop a run whose numbers have become NaN or infinite."""

from __future__ import annotations

from math import isfinite
from typing import Any

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from .deferred import DeferredScalars, logs_after

ADVICE = (
    'Resume from the checkpoint before, with a lower learning rate, with gradient '
    'clipping (optim_wrapper.clip_grad.max_norm=1.0), or with dtype=bfloat16 instead '
    'of float16'
)


@HOOKS.register_module()
class FiniteCheckHook(Hook):
    """Raise when a loss, a diagnostic or a weight to be saved is not finite.

    The numbers of every iteration are checked, but without a wait for the device:
    where the logger reads them anyway, and before a checkpoint is saved. No checkpoint
    holds a NaN. (The released AdaMAE code replaces NaN logits by 0, which hides the
    divergence.)
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._pending = DeferredScalars()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Keep the numbers of an iteration, and check them where they are logged.

        Raises:
            FloatingPointError: if one is NaN or infinite; names the first iteration
                that had one, and the cause.
        """
        self._pending.append(runner.iter, outputs or {})
        if logs_after(runner, batch_idx):
            self._check()

    def _check(self) -> None:
        for iteration, values in self._pending.drain():
            floats = {k: v for k, v in values.items() if isinstance(v, float)}
            bad = {k: v for k, v in floats.items() if not isfinite(v)}
            if not bad:
                continue
            cause = 'the loss'
            # Both come from the sampler's logits, the reconstruction does not.
            if {'sampler_entropy', 'loss_sampling'} & bad.keys():
                cause = "the token sampler's logits"
                if 'loss_reconstruction' in bad:
                    cause += ' and the reconstruction (most likely their common input)'
            numbers = ', '.join(f'{name}={value}' for name, value in bad.items())
            raise FloatingPointError(
                f'iteration {iteration + 1}: {cause} became non-finite ({numbers}). '
                + ADVICE
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the weights that are about to be saved, and the numbers so far.

        Raises:
            FloatingPointError: if one is NaN or infinite; nothing is written.
        """
        self._check()
        for name, weight in checkpoint['state_dict'].items():
            if weight.is_floating_point() and not weight.isfinite().all():
                raise FloatingPointError(
                    f'iteration {runner.iter + 1}: {name} is non-finite, so this '
                    f'checkpoint is not written. {ADVICE}'
                )
