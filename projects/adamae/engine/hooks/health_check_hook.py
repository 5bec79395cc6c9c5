"""Warn of a run whose numbers are finite and yet wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch.nn.functional as F
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from projects.adamae_command import docs_page, tool_name

from ...models.mae_recognizer import MAERecognizer
from ...models.tokens import effective_tokens
from ...utils.wrappers import unwrap_model
from .deferred import DeferredScalars, logs_after

# How these were measured: docs/training.md, "If the numbers go wrong".
_WINDOW = 20  # iterations that are averaged
_RISE = 3.0  # of the loss, over the lowest so far
_PLATEAU = 5000  # iterations
_RANGE = 4  # of 255, of the pixels of a clip
_CONSTANT = 0.1, 8  # share and number of clips
_FIRST = 8  # iterations whose pixels are looked at, whether they are logged or not


@HOOKS.register_module()
class HealthCheckHook(Hook):
    """Warn, once of each kind, of what goes wrong without a NaN.

    - The sampler has collapsed: on average over 20 iterations, the entropy of its
      probabilities is that of fewer equally likely tokens than are drawn.
    - The loss rises: its mean over 20 iterations is three times the lowest such mean
      so far, or the loss of the first iteration.
    - Nothing is learned: after 5000 iterations, the mean squared error of normalized
      targets is above 1, which predicting 0 would give.
    - Clips are constant, as of black videos: 10% of those looked at, 8 at least.

    The numbers of all iterations are read where the logger reads them; pixels are
    looked at on the host, some of each clip, in the first 8 iterations and in those
    that are logged.
    """

    def __init__(self) -> None:
        self._pending = DeferredScalars()
        self._windows: dict[str, list[float]] = {}
        self._lowest: float | None = None
        self._clips = self._constant = 0
        self._warned: set[str] = set()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Keep the numbers of an iteration, and look at them where they are logged."""
        names = ('loss_reconstruction', 'sampler_entropy')
        known = {k: v for k, v in (outputs or {}).items() if k in names}
        self._pending.append(runner.iter, known)
        logs = logs_after(runner, batch_idx)
        if logs or runner.iter < _FIRST:
            self._look_at_pixels(runner, data_batch)
        if logs:
            for iteration, values in self._pending.drain():
                for name, value in values.items():
                    self._add(runner, name, value, iteration + 1)

    def _add(self, runner: Runner, name: str, value: float, iteration: int) -> None:
        """Add a number to its window, and check the window when it is full."""
        if name == 'loss_reconstruction' and self._lowest is None:
            self._lowest = value  # before any update
        window = self._windows.setdefault(name, [])
        window.append(value)
        if len(window) < _WINDOW:
            return
        mean = sum(window) / len(window)
        window.clear()
        model = unwrap_model(runner.model)
        if not isinstance(model, MAERecognizer):
            return
        if name == 'sampler_entropy':
            tokens, drawn = model.sampler.num_tokens, model.sampler.num_visible
            effective = effective_tokens(mean, tokens)
            if effective < drawn:
                self._warn(
                    runner,
                    'sampler',
                    f'iteration {iteration}: the token sampler has collapsed: its '
                    f'entropy, {mean:.3f}, is that of {effective:.1f} equally likely '
                    f'tokens, and {drawn} of {tokens} are drawn, so the others are '
                    f'left to chance. Look at {tool_name("visualize.py")}; a lower '
                    'learning rate, model.loss.entropy_weight or '
                    f'model.sampler.mix_uniform keep it open ({docs_page("options")})',
                )
            return
        assert self._lowest is not None
        advice = (
            'Look at the learning rate (optim_wrapper.optimizer.lr, '
            '--auto-scale-lr), its warm-up and optim_wrapper.clip_grad'
        )
        if mean > _RISE * self._lowest:
            self._warn(
                runner,
                'rise',
                f'iteration {iteration}: loss_reconstruction rises: {mean:.4g} on '
                f'average over {_WINDOW} iterations, more than {_RISE:g} times '
                f'{self._lowest:.4g}, where it has been. {advice}',
            )
        self._lowest = min(self._lowest, mean)
        criterion = model.criterion
        costs_one = criterion.target.norm_pix and criterion.value_error is F.mse_loss
        if iteration > _PLATEAU and mean > 1 and costs_one:
            self._warn(
                runner,
                'plateau',
                f'iteration {iteration}: loss_reconstruction is {mean:.4g}, and '
                'predicting 0 everywhere would give 1: nothing has been learned. '
                f'{advice}',
            )

    def _look_at_pixels(self, runner: Runner, batch: Any) -> None:
        """Count clips, and those whose pixels are all of one color."""
        inputs = batch.get('inputs') if isinstance(batch, Mapping) else None
        for clip in _clips(inputs):
            rows, columns = (max(1, size // 32) for size in clip.shape[-2:])
            values = clip[..., ::rows, ::columns].numpy()
            self._clips += 1
            self._constant += float(values.max()) - float(values.min()) <= _RANGE
        share, number = _CONSTANT
        if self._constant >= max(number, share * self._clips):
            self._warn(
                runner,
                'pixels',
                f'iteration {runner.iter + 1}: {self._constant} of {self._clips} clips '
                'that were looked at are of one color, as of black videos (at most '
                f'{share:.0%} are no reason to worry): there is nothing to rebuild or '
                'to recognize in them. Look at the videos and at how they are decoded',
            )

    def _warn(self, runner: Runner, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            runner.logger.warning(text)


def _clips(inputs: Any) -> Iterable[Tensor]:
    """Find the clips of a batch, those of several of a video apart."""
    if isinstance(inputs, Tensor) and inputs.device.type == 'cpu':
        yield from inputs.flatten(0, -5) if inputs.ndim > 4 else [inputs]
    elif isinstance(inputs, list | tuple):
        for part in inputs:
            yield from _clips(part)
