"""The ``config.json`` of a VideoMAE checkpoint of the ``transformers`` package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .architecture import OVERRIDABLE, Architecture

# Our setting and that of ``VideoMAEConfig``.
_CONFIG = {
    'backbone.img_size': 'image_size',
    'backbone.patch_size': 'patch_size',
    'backbone.in_channels': 'num_channels',
    'backbone.num_frames': 'num_frames',
    'backbone.tubelet_size': 'tubelet_size',
    'backbone.embed_dims': 'hidden_size',
    'backbone.depth': 'num_hidden_layers',
    'backbone.num_heads': 'num_attention_heads',
    'backbone.qkv_bias': 'qv_bias',
    'backbone.use_mean_pooling': 'use_mean_pooling',
    'decoder.embed_dims': 'decoder_hidden_size',
    'decoder.depth': 'decoder_num_hidden_layers',
    'decoder.num_heads': 'decoder_num_attention_heads',
}


def arch_from_transformers(config: Mapping[str, Any]) -> Architecture:
    """Read what weights do not tell from the content of a ``config.json``."""
    arch = {
        ours: config[theirs]
        for ours, theirs in _CONFIG.items()
        if ours in OVERRIDABLE and theirs in config
    }
    eps = config.get('layer_norm_eps', 1e-12)
    return arch | {'backbone.norm_cfg': {'type': 'LN', 'eps': eps}}


def transformers_config(arch: Architecture) -> dict[str, Any]:
    """Write the content of a ``config.json``.

    Raises:
        ValueError: if the architecture lacks something that transformers needs.
    """
    held = {key.split('.')[0] for key in arch}
    wanted = {k: v for k, v in _CONFIG.items() if k.split('.')[0] in held}
    unknown = [ours for ours in wanted if ours not in arch]
    if unknown:
        raise ValueError(
            f'config.json needs {", ".join(unknown)}, which this checkpoint does not '
            'tell; give them with --set, for example --set backbone.num_heads=12 '
            'backbone.num_frames=16 backbone.img_size=224'
        )
    config = {theirs: arch[ours] for ours, theirs in wanted.items()}
    for part, prefix in (('backbone', ''), ('decoder', 'decoder_')):
        if part in held:
            hidden = arch[f'{part}.embed_dims'] * arch[f'{part}.mlp_ratio']
            config[f'{prefix}intermediate_size'] = round(hidden)
    kind = 'ForPreTraining' if 'decoder' in held else 'ForVideoClassification'
    if 'cls_head' in held:
        labels = range(arch['cls_head.num_classes'])
        config['id2label'] = {str(i): f'LABEL_{i}' for i in labels}
        config['label2id'] = {f'LABEL_{i}': i for i in labels}
    if 'qv_bias' in config:
        config['qkv_bias'] = config['qv_bias']  # its name up to 5.16
    return {
        'architectures': [f'VideoMAE{kind}'],
        'model_type': 'videomae',
        **config,
        'layer_norm_eps': arch.get('backbone.norm_cfg', {}).get('eps', 1e-6),
    }
