"""What a checkpoint says about its model: by shapes, and by what is stored with them.

An architecture is a flat dict of settings of our configs, for example
``{'backbone.embed_dims': 768, 'backbone.num_heads': 12, 'cls_head.num_classes': 400}``.
What a checkpoint does not say is not in it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping
from math import isqrt, prod
from typing import Any

from mmaction.registry import MODELS
from torch import Tensor

from ..utils.meta import without_weights
from ..utils.sizes import height_and_width

Architecture = dict[str, Any]
Grid = tuple[int, int, int]
Weights = Mapping[str, Tensor]

# What shapes do not tell, and its value where a config is silent too.
_DEFAULTS = {
    'backbone.img_size': 224,
    'backbone.num_frames': 16,
    'backbone.num_heads': 12,
    'backbone.norm_cfg': {'type': 'LN', 'eps': 1e-6},
    'decoder.num_heads': 6,
}
#: What a user may have to state.
OVERRIDABLE = tuple(_DEFAULTS)
_SPATIAL, _TEMPORAL = 'backbone.pos_embed_spatial', 'backbone.pos_embed_temporal'
# Attention heads of the published models by their width, decoders included.
_HEADS = {192: 3, 384: 6, 512: 8, 640: 8, 768: 12, 1024: 16, 1280: 16}


def is_valid(key: str, value: Any) -> bool:
    """Tell whether a value can be that of a key of ``OVERRIDABLE``."""
    if key == 'backbone.norm_cfg':
        return isinstance(value, dict) and {'type', 'eps'} <= value.keys()
    if key == 'backbone.img_size':
        try:
            return bool(height_and_width(value))
        except ValueError:
            return False
    return type(value) is int and value > 0


def arch_from_config(text: str) -> Architecture:
    """Read the model of a config's text (``meta['cfg']``), without running it."""
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    model = {}
    for node in body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'model':
            model = _literal(node.value)
    if not isinstance(model, dict) or 'backbone' not in model:
        return {}
    arch = {}
    for key, default in _DEFAULTS.items():
        part, name = key.split('.')
        if isinstance(model.get(part), dict):
            arch[key] = model[part].get(name, default)
    return arch


def _literal(node: ast.expr) -> Any:
    """Evaluate numbers, texts, sequences and dicts; anything else is None."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return tuple(map(_literal, items))
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=pairs):
            return {pair.arg: _literal(pair.value) for pair in pairs}
        case ast.Dict(keys=keys, values=values):
            names = [
                key.value if isinstance(key, ast.Constant) else None for key in keys
            ]
            return dict(zip(names, map(_literal, values), strict=True))
    return None


def describe(weights: Weights, stated: Architecture) -> Architecture:
    """Tell the architecture of weights of ours.

    Args:
        weights (Mapping[str, Tensor]): under our names.
        stated (Architecture): what is known apart from them; parts that the weights do
            not have are ignored.

    Returns:
        Architecture: what shapes and ``stated`` say.

    Raises:
        ValueError: if the two do not agree on the number of tokens.
    """
    arch = _sizes(weights)
    parts = by_part(arch)
    arch |= {key: v for key, v in stated.items() if key.split('.')[0] in parts}
    grid, positions = token_grid(arch), _num_positions(weights)
    if grid and positions and prod(grid) != positions:
        raise ValueError(
            f'expected positions for {format_shape(grid)} tokens, as the file tells of '
            f'{arch["backbone.num_frames"]} frames of {arch["backbone.img_size"]} '
            f'pixels, got {positions}'
        )
    return arch


def _sizes(weights: Weights) -> Architecture:
    """Read off the few shapes that determine all others."""
    name = 'backbone.patch_embed.projection.weight'
    shape = tuple(weights[name].shape)
    if len(shape) != 5 or 0 in shape:
        raise ValueError(
            f'{name}: expected a kernel over time, rows and columns (5 axes), got '
            f'shape {shape}: a model of images?'
        )
    width, channels, tubelet, patch, _ = shape
    arch = {
        'backbone.patch_size': patch,
        'backbone.in_channels': channels,
        'backbone.tubelet_size': tubelet,
        'backbone.qkv_bias': 'backbone.blocks.0.attn.q_bias' in weights,
        **_stack_sizes('backbone', width, weights),
    }
    if _SPATIAL in weights:
        positions = _length(weights, _SPATIAL, 1)
        if isqrt(positions) ** 2 == positions:  # else the frames are no squares
            arch['backbone.img_size'] = isqrt(positions) * patch
        arch['backbone.num_frames'] = _length(weights, _TEMPORAL, 1) * tubelet
    else:
        arch['backbone.use_mean_pooling'] = 'backbone.fc_norm.weight' in weights
    if 'decoder.embed.weight' in weights:
        width = _length(weights, 'decoder.embed.weight')
        arch |= _stack_sizes('decoder', width, weights)
    if {'sampler.pos_embed', 'sampler.head.weight'} <= weights.keys():
        width = _length(weights, 'sampler.head.weight', 1)
        arch |= _stack_sizes('sampler', width, weights)
    if 'cls_head.fc_cls.weight' in weights:
        arch['cls_head.num_classes'] = _length(weights, 'cls_head.fc_cls.weight')
    return arch


def _stack_sizes(part: str, width: int, weights: Weights) -> Architecture:
    """Tell the sizes of a stack of transformer blocks."""
    prefix = f'{part}.blocks.'
    blocks = {n[len(prefix) :].split('.')[0] for n in weights if n.startswith(prefix)}
    hidden = _length(weights, f'{prefix}0.mlp.layers.0.0.weight')
    return {
        f'{part}.embed_dims': width,
        f'{part}.depth': len(blocks),
        f'{part}.mlp_ratio': hidden / width,
    }


def _length(weights: Weights, name: str, axis: int = 0) -> int:
    """Measure a weight; 1 where there is nothing, which check_shapes reports."""
    if name not in weights:
        return 1
    return max(1, weights[name].shape[axis : axis + 1].numel())


def check_shapes(weights: Weights) -> None:
    """Compare weights of ours with the model whose sizes they have; unknown ones pass.

    Raises:
        ValueError: if the shape of one does not fit the others.
    """
    arch = _sizes(weights)
    width = arch['backbone.embed_dims']
    encoder = 'Separable' if _SPATIAL in weights else 'Masked'
    decoder = 'Separable' if 'decoder.pos_embed_spatial' in weights else ''
    shared = dict(num_heads=1, in_channels=width, grid_size=(1, 1, 2))
    others: dict[str, dict[str, Any]] = {
        'backbone': dict(
            type=f'{encoder}VisionTransformer',
            img_size=arch['backbone.patch_size'],
            num_frames=arch['backbone.tubelet_size'],
            num_heads=1,
            qkv_bias=True,
            init_values=1.0,
            use_mean_pooling=False,
        ),
        'decoder': dict(
            type=f'{decoder}MAEDecoder',
            out_channels=_length(weights, 'decoder.head.weight'),
            **shared,
        ),
        'sampler': dict(type='AdaptiveSamplerHead', mask_ratio=0.5, **shared),
        'cls_head': dict(type='TimeSformerHead', in_channels=width),
    }
    expected: dict[str, Tensor] = {}
    for part, sizes in by_part(arch).items():
        cfg = sizes | others[part]
        if 'mlp_ratio' in cfg:
            cfg['mlp_ratio'] += 1e-6  # the block rounds width times ratio down
        with without_weights():
            expected |= MODELS.build(cfg).state_dict(prefix=f'{part}.')
    for name, tensor in weights.items():
        # In fine-tuning the norm has the same shape and another name.
        own = expected.get(name.replace('.fc_norm.', '.norm.'))
        if own is None:
            continue
        shape: tuple[Any, ...] = tuple(own.shape)
        if 'pos_embed' in name:  # of any number of tokens
            shape = (1, tensor.shape[1] if tensor.ndim == 3 else 'N', shape[2])
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f'{name}: expected shape {format_shape(shape)}, as the other weights '
                f'have it, got {format_shape(tuple(tensor.shape))}'
            )


def by_part(arch: Architecture) -> dict[str, dict[str, Any]]:
    """Nest settings as a model's config does."""
    model: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, value in arch.items():
        part, name = key.split('.')
        model[part][name] = value
    return dict(model)


def assume(weights: Weights, arch: Architecture) -> Architecture:
    """Guess what a checkpoint does not say: settings that are not in ``arch`` yet.

    These are the heads of published models of that width, and clips of 16 frames if
    that fits the number of positions.
    """
    guess = {}
    for part in ('backbone', 'decoder'):
        heads = _HEADS.get(arch.get(f'{part}.embed_dims', 0))
        if part == 'decoder' and _SPATIAL in weights:
            heads = 16  # of SpatiotemporalMAE, at a width where VideoMAE has 8
        if heads and f'{part}.num_heads' not in arch:
            guess[f'{part}.num_heads'] = heads
    positions = _num_positions(weights)
    if positions and token_grid(arch) is None and _SPATIAL not in weights:
        steps = 16 // arch['backbone.tubelet_size']
        side = isqrt(positions // steps)
        if steps * side**2 == positions:
            guess['backbone.num_frames'] = 16
            guess['backbone.img_size'] = side * arch['backbone.patch_size']
    return guess


def _num_positions(weights: Weights) -> int | None:
    """Count the tokens that the position tables are for; None if there is no table."""
    for name in ('backbone.pos_embed', 'sampler.pos_embed'):
        if name in weights:
            return _length(weights, name, 1)
    if _SPATIAL in weights:
        return _length(weights, _SPATIAL, 1) * _length(weights, _TEMPORAL, 1)
    return None


def token_grid(arch: Architecture) -> Grid | None:
    """Tell the number of tokens along time, rows and columns, if it is known."""
    try:
        height, width = height_and_width(arch['backbone.img_size'])
        patch = arch['backbone.patch_size']
        steps = arch['backbone.num_frames'] // arch['backbone.tubelet_size']
    except KeyError:
        return None
    return steps, height // patch, width // patch


def format_shape(sizes: tuple[Any, ...]) -> str:
    """Write sizes as in 8x14x14."""
    return 'x'.join(map(str, sizes))


def format_arch(arch: Architecture) -> str:
    """List settings for people."""
    return ', '.join(f'{key}={value}' for key, value in arch.items())


def config_text(arch: Architecture) -> str:
    """Write an architecture as MMEngine stores configs, for ``arch_from_config``."""
    model = by_part(arch)
    for key in OVERRIDABLE:
        part, name = key.split('.')
        if part in model:
            model[part].setdefault(name, None)  # not the default: it is not known
    return f'model = {model}\n'
