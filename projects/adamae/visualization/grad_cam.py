"""Grad-CAM of a video transformer."""

from __future__ import annotations

from math import prod
from typing import Any

from mmaction.utils import GradCAM
from torch import Tensor

_OF_RESNETS = 'backbone/layer4/1/relu'  # the default of MMAction2's vis_cam.py
_TOKENS = 'target_gradients', 'target_activations'


class TokenGradCAM(GradCAM):
    """MMAction2's ``GradCAM`` for layers that give tokens (B, N, D).

    Activations and gradients of such a layer are laid out as maps (B, D, t, h, w), on
    the token grid of the backbone; a class token is left out. Other layers are treated
    as in MMAction2.

    Args:
        model (nn.Module): a ``Recognizer3D``.
        target_layer_name (str): path of a layer, with ``/`` between names. MMAction2's
            default, a layer of ResNets, stands for the first norm of the last block.
        colormap (str): of matplotlib. Defaults to ``'viridis'``.

    Raises:
        ValueError: if there is no such layer.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _TOKENS and isinstance(value, Tensor) and value.ndim == 3:
            value = self._to_maps(value)
        super().__setattr__(name, value)

    def _to_maps(self, tokens: Tensor) -> Tensor:
        grid = self.model.backbone.token_grid
        maps = tokens[:, -prod(grid) :].unflatten(1, grid)
        return maps.permute(0, 4, 1, 2, 3).contiguous()

    def _register_hooks(self, layer_name: str) -> None:
        blocks = getattr(self.model.backbone, 'blocks', None)
        if blocks is not None and layer_name == _OF_RESNETS:
            layer_name = f'backbone/blocks/{len(blocks) - 1}/norm1'
        layers = dict(self.model.named_modules())
        if layer_name.replace('/', '.') not in layers:
            example = 'backbone/blocks/0/norm1' if blocks is not None else 'backbone'
            raise ValueError(
                f'--target-layer-name: the model has no {layer_name!r}; expected the '
                f'path of a layer, such as {example!r}'
            )
        super()._register_hooks(layer_name)
