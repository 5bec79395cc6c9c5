"""Numbers that stay on the device until somebody wants to read them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import torch
from mmengine.hooks import LoggerHook
from mmengine.runner import Runner
from torch import Tensor


class DeferredScalars:
    """Numbers of several iterations, fetched from the device in one go."""

    def __init__(self) -> None:
        self._pending: list[tuple[int, dict[str, Any]]] = []

    def append(self, iteration: int, values: Mapping[str, Any]) -> None:
        """Keep the numbers of an iteration, without waiting for them.

        Args:
            iteration (int): its number.
            values (Mapping[str, Tensor | float]): tensors hold one number each; they
                are kept without their graph.
        """
        kept = {k: v.detach() if torch.is_tensor(v) else v for k, v in values.items()}
        self._pending.append((iteration, kept))

    def drain(self) -> list[tuple[int, dict[str, Any]]]:
        """Wait for the device once, and forget what was kept.

        Returns:
            list[tuple[int, dict[str, Any]]]: what was appended, tensors as floats.
        """
        pending, self._pending = self._pending, []
        tensors = [
            v for _, values in pending for v in values.values() if torch.is_tensor(v)
        ]
        numbers = iter(_fetch(tensors))
        return [
            (
                iteration,
                {k: next(numbers) if torch.is_tensor(v) else v for k, v in old.items()},
            )
            for iteration, old in pending
        ]


def logs_after(runner: Runner, batch_idx: int) -> bool:
    """Tell whether the numbers of an iteration are read at its end.

    Args:
        runner (Runner): the runner.
        batch_idx (int): number of the batch in its epoch.

    Returns:
        bool: True where a ``LoggerHook`` logs, and at the end of an epoch.
    """
    loggers = [hook for hook in runner.hooks if isinstance(hook, LoggerHook)]
    return batch_idx + 1 == len(runner.train_dataloader) or any(
        logger.every_n_inner_iters(batch_idx, logger.interval) for logger in loggers
    )


def _fetch(tensors: list[Tensor]) -> list[float]:
    """Copy one-number tensors to the host, all in one copy."""
    if not tensors:
        return []
    # float32 holds every half-precision number; float64 only if there is one.
    dtype = reduce(torch.promote_types, (t.dtype for t in tensors), torch.float32)
    device = tensors[0].device
    return torch.stack([t.reshape(()).to(device, dtype) for t in tensors]).tolist()
