"""MMEngine's parameter-wise settings without a group per parameter."""

from __future__ import annotations

from collections import Counter
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
        """Add the groups of a module; merge all, in place, once all are there.

        Raises:
            ValueError: if two names are one parameter; torch only warns where both are
                in the same group, and would update it twice a step.
        """
        super().add_params(params, module, prefix=prefix, **kwargs)
        if not prefix:
            _reject_shared(params, module)
            settings = dict(lr=self.base_lr, weight_decay=self.base_wd)
            known = {k: v for k, v in settings.items() if v is not None}
            params[:] = merge_param_groups(params, known)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper over the merged groups of a model."""
        wrapper = super().__call__(model)
        explain_mismatch(wrapper.optimizer)
        return wrapper


def _reject_shared(groups: list[dict], module: nn.Module) -> None:
    """Raise an error if a parameter is in the groups twice."""
    counts = Counter(id(param) for group in groups for param in group['params'])
    first: dict[int, str] = {}
    for name, param in module.named_parameters(remove_duplicate=False):
        known = first.setdefault(id(param), name)
        if known != name and counts[id(param)] > 1:
            raise ValueError(
                f'optim_wrapper: expected every parameter once, but {name} is {known}; '
                'to update it once a step, with the settings of the first, add '
                'optim_wrapper.paramwise_cfg.bypass_duplicate=True'
            )
