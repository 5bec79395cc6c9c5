"""Layer-wise learning rates that know class tokens and position tables."""

from __future__ import annotations

import re
from typing import Any

from mmaction.engine.optimizers import LearningRateDecayOptimizerConstructor
from mmaction.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from .merge import merge_param_groups


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TokenLayerDecayOptimizerConstructor(LearningRateDecayOptimizerConstructor):
    """``LearningRateDecayOptimizerConstructor`` for any tokens and positions.

    MMAction2 knows three of them by name and takes any other for part of the head:
    full learning rate and weight decay. Here every parameter that belongs to the
    backbone itself, and to none of its layers, is an embedding: layer 0, no weight
    decay (as in the released code of arXiv:2205.09113). Groups with equal settings are
    merged. Arguments as in MMAction2.
    """

    def add_params(self, params: list[dict], module: nn.Module, **kwargs: Any) -> None:
        """Add the groups of a recognizer with a ``backbone``."""
        groups: list[dict] = []
        super().add_params(groups, module, **kwargs)
        embeddings = {
            name: param
            for name, param in module.named_parameters()
            if re.fullmatch(r'backbone\.\w+', name) and param.requires_grad
        }
        for group in groups:
            kept = [name not in embeddings for name in group['param_names']]
            for key in ('params', 'param_names'):
                pairs = zip(group[key], kept, strict=True)
                group[key] = [value for value, keep in pairs if keep]
        scale = self.paramwise_cfg['decay_rate'] ** (
            self.paramwise_cfg['num_layers'] + 1
        )
        groups.append(
            dict(
                params=list(embeddings.values()),
                param_names=list(embeddings),
                weight_decay=0.0,
                lr_scale=scale,
                lr=scale * self.base_lr,
                group_name='layer_0_embeddings',
            )
        )
        params += merge_param_groups(group for group in groups if group['params'])
