"""torch.compile by MMEngine's switch, for the part of a step that is a graph."""

from __future__ import annotations

from typing import Any

import torch
from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from ...models.mae_recognizer import MAERecognizer
from ...utils.wrappers import unwrap_model


@HOOKS.register_module()
class CompileHook(Hook):
    """Compile what computes: the loss of pre-training, the encoder of a classifier.

    The switch is MMEngine's own, ``compile=True`` or ``compile=dict(mode=...)``, with
    the arguments of ``torch.compile``. ``dict(disable=True)`` is off, until it gets
    another argument: so a base config can have it, and ``--cfg-options compile.mode``
    fill it. MMEngine compiles the whole ``train_step``, which breaks into pieces at the
    batch's data samples, the backward pass and the optimizer. Here the compiled part is
    one graph, used in training only; weights, their names and evaluation stay as they
    are.
    """

    def before_run(self, runner: Runner) -> None:
        """Take the switch over before MMEngine looks at it."""
        self._options = compile_options(runner.cfg.get('compile', False))
        runner.cfg.compile = False

    def before_train(self, runner: Runner) -> None:
        """Compile, after hooks such as ``EMAHook`` have made their copies."""
        if self._options is not None:
            compile_model(unwrap_model(runner.model), **self._options)


def compile_options(switch: bool | dict[str, Any] | None) -> dict[str, Any] | None:
    """Turn ``compile`` of a config into arguments of ``torch.compile``, None for off.

    Raises:
        ValueError: if it is neither a bool nor a dict.
    """
    if switch is None or isinstance(switch, bool):
        return {} if switch else None
    if not isinstance(switch, dict):
        raise ValueError(
            'compile: expected True, False or a dict of arguments of torch.compile, '
            f'such as compile.mode=max-autotune, got {switch!r}'
        )
    options = {**switch}
    if options.pop('disable', False) and not options:
        return None
    try:
        torch.compile(nn.Identity(), **options)
    except (RuntimeError, TypeError, AttributeError, AssertionError) as error:
        raise ValueError(
            f'compile: expected arguments of torch.compile, got {options}: {error}'
        ) from error
    return options


def compile_model(model: nn.Module, **options: Any) -> None:
    """Compile the training part of a recognizer, in place.

    Args:
        model (nn.Module): a ``MAERecognizer``, whose loss is compiled, or any model
            with a ``backbone``, whose forward pass is.
        **options: of ``torch.compile``.
    """
    if isinstance(model, MAERecognizer):
        model.compile_loss(**options)
        return
    backbone: Any = model.backbone
    eager, compiled = backbone.forward, torch.compile(backbone.forward, **options)

    def forward(*args: Any, **kwargs: Any) -> Any:
        # Evaluation has other batch sizes: each would be compiled again.
        return (compiled if backbone.training else eager)(*args, **kwargs)

    backbone.forward = forward
