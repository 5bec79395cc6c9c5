"""Keep an update that is not finite from weights and optimizer state."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.optim import OptimWrapper
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

# A scaler of float16 halves its scale, 65536 at first, with every overflow. Gradients
# that overflow even so are not too large for float16, they are wrong.
_SMALLEST_SCALE = 2.0**-10


class UpdateGuard:
    """Check the gradients of every update, and leave out an update that is bad.

    Bad is a gradient that is NaN, infinite, or so large that its square is: Adam's
    second moment would become infinite, and the weight never learn again. A loss that
    is not finite makes all gradients NaN, so that after the exchange of gradients all
    processes see the same. With a loss scaler, gradients that overflow are its
    business: it leaves out the update; bad is a loss, or a scale that has become
    absurd.

    Nothing waits for a GPU: the check runs on the device, a bad update is left out
    there, and so are all later ones once ``max_skipped`` are exceeded. The host reads
    :attr:`count` when it likes, and finds weights and optimizer as they were before the
    bad update. Exceptions, which wait: optimizers that are not ``fused`` and sharded
    weights, both without a loss scaler.

    Args:
        wrapper (OptimWrapper): of the run; two of its methods are replaced.
        max_skipped (int): how many bad updates are left out without more.

    Attributes:
        count (Tensor): bad updates so far, float32, shape (), on the device.
        scale (Tensor | None): of the loss at the last update, shape ().
        updates (int): updates so far, good or bad.
        reads_late (bool): whether reading a number of the device would be a wait.
    """

    def __init__(self, wrapper: OptimWrapper, max_skipped: int = 0) -> None:
        optimizer = wrapper.optimizer
        params = [p for group in optimizer.param_groups for p in group['params']]
        self.count = torch.zeros((), device=params[0].device)
        self.scale: Tensor | None = None
        self.updates = 0
        self.reads_late = params[0].device.type != 'cpu'
        self._params = params
        self._max_skipped = max_skipped
        self._optimizer = optimizer
        self._scaler = enabled_scaler(wrapper)
        self._bad_loss = torch.zeros_like(self.count)
        self._sharded = any(isinstance(param, DTensor) for param in params)
        # These take ``found_inf`` from a scaler, or from us.
        fused = getattr(optimizer, '_step_supports_amp_scaling', False)
        self._waits = not (self.reads_late and fused) or self._sharded
        wrapper.scale_loss = self._spread(wrapper.scale_loss)
        wrapper.step = self._guard(wrapper.step)

    def _spread(self, scale_loss: Callable[[Tensor], Tensor]) -> Callable:
        """Make a loss that is not finite one whose gradients are not either."""

        def spread(loss: Tensor) -> Tensor:
            zero = loss.detach() * 0  # or NaN
            if self._scaler is not None:
                self._bad_loss = torch.maximum(self._bad_loss, zero.isnan().float())
            # Times exactly 1.
            return scale_loss(loss * (1 + zero))

        return spread

    def _guard(self, step: Callable[..., None]) -> Callable:
        @wraps(step)  # schedulers look for their mark on it
        def guarded(**kwargs: Any) -> None:
            grads = [_local(p.grad) for p in self._params if p.grad is not None]
            if grads:
                self._check(grads)
            step(**kwargs)
            if self._scaler is not None:
                self._bad_loss = torch.zeros_like(self._bad_loss)
            self.updates += 1

        return guarded

    @torch.no_grad()
    def _check(self, grads: list[Tensor]) -> None:
        if self._scaler is None:
            squares = _sum_of_squares(grads)
        else:
            # Squares of scaled gradients may overflow where nothing is wrong. (On a
            # CPU, where there is no scaler, the largest one takes torch much longer.)
            self.scale = scale = self._scaler.scale(torch.ones_like(self.count))
            squares = (get_total_norm(grads, float('inf')).float() / scale).square()
        bad = (~squares.isfinite()).float()
        fatal = bad
        if self._scaler is not None:
            absurd = bad * (scale < _SMALLEST_SCALE)
            fatal = torch.maximum(self._bad_loss, absurd)
        if get_world_size() > 1 and (self._scaler is not None or self._sharded):
            # Else gradients, and what is known from them, are everywhere the same.
            both = torch.stack([bad, fatal])
            all_reduce(both, 'max')
            bad, fatal = both
        self.count = self.count + fatal
        bad = torch.maximum(bad, (self.count > self._max_skipped).float())
        if self._scaler is not None:
            # The scaler looks for what is not finite, and leaves out the update.
            smallest = min((g for g in grads if g.numel()), key=Tensor.numel)
            smallest.mul_(torch.where(bad > 0, torch.nan, 1.0))
        elif not self._waits:
            self._optimizer.found_inf = bad
        elif bad.item():
            for param in self._params:
                param.grad = None


def _sum_of_squares(grads: list[Tensor]) -> Tensor:
    """Sum the squares of gradients, of which one that overflows makes an infinite sum.

    On a CPU a scalar product takes half the time of a norm.
    """
    if any(g.is_cuda or g.dtype.itemsize < 4 for g in grads):
        return get_total_norm(grads).float().square()
    flat = [grad.reshape(-1) for grad in grads]
    return torch.stack([torch.dot(g, g).float() for g in flat]).sum()


class Later:
    """A number of the device, on its way to the host.

    Args:
        value (Tensor): of one element; it must not be changed in place.
    """

    def __init__(self, value: Tensor) -> None:
        self._value = value.to('cpu', non_blocking=value.is_cuda)
        self._copied = torch.cuda.Event() if value.is_cuda else None
        if self._copied is not None:
            self._copied.record()

    def read(self) -> float:
        """Wait until it is there: for what the device had to do before, no more."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._value.item()


def enabled_scaler(wrapper: OptimWrapper) -> Any:
    """Return the loss scaler of an ``AmpOptimWrapper``, None where there is none."""
    scaler = getattr(wrapper, 'loss_scaler', None)
    return scaler if scaler is not None and scaler.is_enabled() else None


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
