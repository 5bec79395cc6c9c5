"""Checkpoints of other code bases: names in, names out."""

from __future__ import annotations

import re

from torch import Tensor

# (pattern of the released names, our name); the first match counts.
_RELEASED_PRETRAIN = (
    (r'encoder\.pos_embed_probs', 'sampler.pos_embed'),
    (r'encoder\.get_token_probs\.0\.', 'sampler.blocks.0.'),
    (r'encoder\.get_token_probs\.1\.', 'sampler.head.'),
    (r'encoder\.', 'backbone.'),
    (r'encoder_to_decoder\.', 'decoder.embed.'),
    (r'mask_token', 'decoder.mask_token'),
    (r'decoder\.', 'decoder.'),
)
_LAYERS = (
    (r'\.patch_embed\.proj\.', '.patch_embed.projection.'),
    (r'\.mlp\.fc1\.', '.mlp.layers.0.0.'),
    (r'\.mlp\.fc2\.', '.mlp.layers.1.'),
)


def rename_released(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a released AdaMAE pre-training checkpoint.

    Args:
        state_dict (dict[str, Tensor]): weights under the authors' names.

    Returns:
        dict[str, Tensor]: the same tensors under the names of ``MAERecognizer``.

    Raises:
        KeyError: if a name is not one of the authors' pre-training model.
    """
    renamed = {}
    for name, tensor in state_dict.items():
        for pattern, ours in _RELEASED_PRETRAIN:
            new_name, count = re.subn('^' + pattern, ours, name)
            if count:
                break
        else:
            raise KeyError(f'{name}: not a weight of the released AdaMAE model')
        for pattern, ours in _LAYERS:
            new_name = re.sub(pattern, ours, new_name)
        renamed[new_name] = tensor
    return renamed
