"""MMEngine's parameter-wise settings without a group a parameter."""

from __future__ import annotations

from typing import Any

from mmaction.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from .merge import explain_mismatch, merge_param_groups


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's ``DefaultOptimWrapperConstructor`` that joins equal groups.

    It takes the same ``paramwise_cfg`` and gives every parameter the same learning
    rate and weight decay; pre-training has 2 groups instead of 233.

    Args:
        optim_wrapper_cfg (dict): optimizer wrapper and optimizer.
        paramwise_cfg (dict, optional): as in MMEngine. Defaults to None.
    """

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs: Any
    ) -> None:
        """Collect the groups of a module, and merge them once all are there.

        Args:
            params (list[dict]): the groups so far, changed in place.
            module (nn.Module): whose parameters to add.
            prefix (str): its name, empty for the whole model.
            **kwargs: as in MMEngine.
        """
        super().add_params(params, module, prefix=prefix, **kwargs)
        if not prefix:
            settings = dict(lr=self.base_lr, weight_decay=self.base_wd)
            known = {k: v for k, v in settings.items() if v is not None}
            params[:] = merge_param_groups(params, known)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper.

        Args:
            model (nn.Module): the model, or its distributed wrapper.

        Returns:
            OptimWrapper: over the merged groups.
        """
        wrapper = super().__call__(model)
        explain_mismatch(wrapper.optimizer)
        return wrapper
