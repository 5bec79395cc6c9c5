"""Stop a run whose numbers have become NaN or infinite."""

from __future__ import annotations

from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

ADVICE = (
    'Resume from the checkpoint before, with a lower learning rate, with gradient '
    'clipping (optim_wrapper.clip_grad.max_norm=1.0), or with dtype=bfloat16 instead '
    'of float16'
)


@HOOKS.register_module()
class FiniteCheckHook(Hook):
    """Raise as soon as a loss, a diagnostic or a weight to be saved is not finite.

    Losses are looked at after every iteration, weights before they are saved: no
    checkpoint holds a NaN. (The released AdaMAE code replaces NaN logits by 0, which
    hides the divergence.) The logger reads the same numbers anyway, so this adds no
    wait for the device.
    """

    priority = 'VERY_HIGH'

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Check the numbers of an iteration.

        Args:
            runner (Runner): the runner.
            batch_idx (int): number of the batch in its epoch.
            data_batch (dict, optional): not used.
            outputs (dict, optional): what ``train_step`` returned, numbers by name.

        Raises:
            FloatingPointError: if one is NaN or infinite; names iteration and cause.
        """
        values = {k: v for k, v in (outputs or {}).items() if torch.is_tensor(v)}
        bad = {k: v.item() for k, v in values.items() if not v.isfinite().all()}
        if not bad:
            return
        # Both come from the sampler's logits, the reconstruction does not.
        if {'sampler_entropy', 'loss_sampling'} & bad.keys():
            cause = "the token sampler's logits"
            if 'loss_reconstruction' in bad:
                cause += ' and the reconstruction (so most likely their common input)'
        else:
            cause = 'the loss'
        numbers = ', '.join(f'{name}={value}' for name, value in bad.items())
        raise FloatingPointError(
            f'iteration {runner.iter + 1}: {cause} became non-finite ({numbers}). '
            + ADVICE
        )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the weights that are about to be saved.

        Args:
            runner (Runner): the runner.
            checkpoint (dict): what will be written.

        Raises:
            FloatingPointError: if one is NaN or infinite; nothing is written.
        """
        for name, weight in checkpoint['state_dict'].items():
            if weight.is_floating_point() and not weight.isfinite().all():
                raise FloatingPointError(
                    f'iteration {runner.iter + 1}: {name} is non-finite, so this '
                    f'checkpoint is not written. {ADVICE}'
                )
