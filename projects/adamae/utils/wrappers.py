"""Models inside distributed wrappers."""

from typing import Any

from mmengine.model import is_model_wrapper
from torch import nn


def unwrap_model(model: nn.Module) -> Any:
    """Return the model inside of a distributed wrapper, or the model itself."""
    return model.module if is_model_wrapper(model) else model
