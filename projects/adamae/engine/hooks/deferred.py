"""Numbers that stay on the device until they are read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import torch
from mmengine.hooks import LoggerHook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only


class DeferredScalars:
    """Numbers of several iterations, fetched from the device in one go."""

    def __init__(self) -> None:
        self._pending: list[tuple[int, dict[str, Any]]] = []

    def append(self, iteration: int, values: Mapping[str, Any]) -> None:
        """Keep the numbers of an iteration, without waiting for them.

        Args:
            iteration (int): its number.
            values (Mapping[str, Tensor | float]): tensors of one number, kept without
                their graph.
        """
        kept = {k: v.detach() if torch.is_tensor(v) else v for k, v in values.items()}
        self._pending.append((iteration, kept))

    def drain(self) -> list[tuple[int, dict[str, Any]]]:
        """Wait for the device once, and forget what was kept.

        Returns:
            list[tuple[int, dict[str, Any]]]: what was appended, tensors as floats.
        """
        pending, self._pending = self._pending, []
        numbers = iter(_fetch([v for v in tree_leaves(pending) if torch.is_tensor(v)]))
        return tree_map_only(Tensor, lambda _: next(numbers), pending)


def logs_after(runner: Runner, batch_idx: int) -> bool:
    """Whether a ``LoggerHook`` logs after a batch, or the epoch ends with it."""
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
