"""MMEngine's parameter-wise settings without a group per parameter."""

from __future__ import annotations

from typing import Any

from mmaction.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from .merge import explain_mismatch, merge_param_groups


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's ``DefaultOptimWrapperConstructor`` that merges equal groups.

    It takes the same arguments and gives every parameter the same learning rate and
    weight decay; pre-training has 2 groups instead of 232.
    """

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs: Any
    ) -> None:
        """Add the groups of a module; merge all, in place, once all are there."""
        super().add_params(params, module, prefix=prefix, **kwargs)
        if not prefix:
            settings = dict(lr=self.base_lr, weight_decay=self.base_wd)
            known = {k: v for k, v in settings.items() if v is not None}
            params[:] = merge_param_groups(params, known)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper over the merged groups of a model."""
        wrapper = super().__call__(model)
        explain_mismatch(wrapper.optimizer)
        return wrapper
