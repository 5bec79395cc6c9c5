"""Modules without memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook


@contextmanager
def without_weights() -> Iterator[None]:
    """Build modules whose parameters have a shape and no memory (device ``meta``)."""

    def forget(module: nn.Module, name: str, param: nn.Parameter | None) -> Any:
        if param is None:
            return None
        return nn.Parameter(param.detach().to('meta'), param.requires_grad)

    handle = register_module_parameter_registration_hook(forget)
    try:
        yield
    finally:
        handle.remove()
