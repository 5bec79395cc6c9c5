"""Gradients of several processes, summed in the same order after an interruption."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any

from mmaction.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.runner import Runner, autocast
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel


@HOOKS.register_module()
class GradientBucketsHook(Hook):
    """Let a resumed run of three or more processes sum gradients as an unbroken one.

    ``DistributedDataParallel`` lays the gradients out anew after its first backward
    pass, in the order in which they came. Where a gradient lies decides in which order
    the processes' parts of it are added, and so how the sum is rounded; for two
    processes there is one order only. A resumed run therefore goes through its first
    batch once without an update, to have the layout that an unbroken run has by then.
    """

    # Before RandomStateHook seeds the iteration.
    priority = 'HIGHEST'

    def before_train(self, runner: Runner) -> None:
        """Find out whether gradients are laid out anew, and were before."""
        model = runner.model
        self._due = (
            isinstance(model, DistributedDataParallel)
            and runner.world_size > 2
            and not model.find_unused_parameters  # then nothing is laid out anew
            and runner.iter >= runner.cfg.optim_wrapper.get('accumulative_counts', 1)
        )

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Go through the first batch once, and leave nothing behind but the layout."""
        if not self._due:
            return
        self._due = False
        model = runner.model
        gradients = [(p, p.grad) for p in model.parameters()]
        buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
        for parameter, _ in gradients:
            parameter.grad = None
        backward: Any = _BackwardOnly(runner.optim_wrapper)
        model.train_step(deepcopy(data_batch), optim_wrapper=backward)
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for buffer, value in buffers:
            buffer.copy_(value)


class _BackwardOnly:
    """An optimizer wrapper that does not step."""

    def __init__(self, wrapper: OptimWrapper) -> None:
        self.wrapper = wrapper

    def optim_context(self, model: Any) -> AbstractContextManager:
        if isinstance(self.wrapper, AmpOptimWrapper):
            return autocast(dtype=self.wrapper.cast_dtype)
        return nullcontext()

    def update_params(self, loss: Tensor) -> None:
        loss.backward()
