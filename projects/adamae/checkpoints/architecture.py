"""What a checkpoint says about its model: by shapes, and by what lies beside them.

An architecture is a flat dict in the language of our configs, for example
``{'backbone.embed_dims': 768, 'backbone.num_heads': 12, 'cls_head.num_classes': 400}``.
What a checkpoint does not say is not in it.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from math import isqrt, prod
from typing import Any

from torch import Tensor

Architecture = dict[str, Any]
Grid = tuple[int, int, int]

#: Our setting and the authors' command line argument.
RELEASED_ARGS = {
    'backbone.img_size': 'input_size',
    'backbone.num_frames': 'num_frames',
}
# What weights do not tell, and what is taken where a config does not either.
_DEFAULTS = {
    'backbone.img_size': 224,
    'backbone.num_frames': 16,
    'backbone.num_heads': 12,
    'backbone.norm_cfg': {'type': 'LN', 'eps': 1e-6},
    'decoder.num_heads': 6,
}
SAYABLE = tuple(_DEFAULTS)
_SPATIAL, _TEMPORAL = 'backbone.pos_embed_spatial', 'backbone.pos_embed_temporal'
# Attention heads of the published models by their width, decoders included.
_HEADS = {192: 3, 384: 6, 512: 8, 640: 8, 768: 12, 1024: 16, 1280: 16}
_NAMES = {
    (384, 12): 'ViT-S',
    (768, 12): 'ViT-B',
    (1024, 24): 'ViT-L',
    (1280, 32): 'ViT-H',
}


def said_by_config(text: str) -> Architecture:
    """Read the model of a config's text, without running it.

    Args:
        text (str): what MMEngine stores in a checkpoint as ``meta['cfg']``.

    Returns:
        Architecture: what weights do not tell; empty if there is no backbone in it.
    """
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return {}
    model = {}
    for node in body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == 'model':
            model = _literal(node.value)
    if not isinstance(model, dict) or 'backbone' not in model:
        return {}
    said = {}
    for key, default in _DEFAULTS.items():
        part, name = key.split('.')
        if isinstance(model.get(part), dict):
            said[key] = model[part].get(name, default)
    return said


def _literal(node: ast.expr) -> Any:
    """Evaluate numbers, texts and (nested) dicts; anything else is None."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=pairs):
            return {pair.arg: _literal(pair.value) for pair in pairs}
        case ast.Dict(keys=keys, values=values):
            names = [
                key.value if isinstance(key, ast.Constant) else None for key in keys
            ]
            return dict(zip(names, map(_literal, values), strict=True))
    return None


def describe(weights: Mapping[str, Tensor], said: Architecture) -> Architecture:
    """Tell the architecture of weights.

    Args:
        weights (Mapping[str, Tensor]): under our names.
        said (Architecture): what the file says beside them.

    Returns:
        Architecture: what the shapes say, and of ``said`` what concerns parts that
        the file holds.

    Raises:
        ValueError: if the two do not agree on the number of tokens, or the shapes among
            themselves.
    """
    kernel = weights['backbone.patch_embed.projection.weight']
    if kernel.ndim != 5:
        raise ValueError(
            'backbone.patch_embed.projection.weight: expected a kernel over time, rows '
            f'and columns (5 axes), got shape {tuple(kernel.shape)}: a model of images?'
        )
    width, channels, tubelet, patch, _ = kernel.shape
    arch = {
        'backbone.patch_size': patch,
        'backbone.in_channels': channels,
        'backbone.tubelet_size': tubelet,
        **_stack('backbone', width, weights),
    }
    if 'decoder.embed.weight' in weights:
        arch |= _stack('decoder', weights['decoder.embed.weight'].shape[0], weights)
    if 'cls_head.fc_cls.weight' in weights:
        arch['cls_head.num_classes'] = weights['cls_head.fc_cls.weight'].shape[0]
    _check_shapes(weights, arch)
    held = {key.split('.')[0] for key in arch}
    arch = (
        _clip(weights, arch)
        | {k: v for k, v in said.items() if k.split('.')[0] in held}
        | arch
    )
    grid, positions = token_grid(arch), num_positions(weights)
    if grid and positions and prod(grid) != positions:
        raise ValueError(
            f'expected positions for {by(grid)} tokens, as the file tells of '
            f'{arch["backbone.num_frames"]} frames of {arch["backbone.img_size"]} '
            f'pixels, got {positions}'
        )
    return arch


def _check_shapes(weights: Mapping[str, Tensor], arch: Architecture) -> None:
    """Compare all shapes with the few that tell the architecture."""
    width = arch['backbone.embed_dims']
    ends: dict[str, dict[str, tuple[Any, ...]]] = {}
    ends['backbone'] = {'patch_embed.projection.bias': (width,)}
    if 'decoder.embed_dims' in arch:
        inner = arch['decoder.embed_dims']
        pixels = len(weights['decoder.head.weight'])  # of one frame or more
        ends['decoder'] = {
            'embed.weight': (inner, width),
            'embed.bias': (inner,),
            'mask_token': (1, 1, inner),
            'head.weight': (pixels, inner),
            'head.bias': (pixels,),
        }
    if 'cls_head.num_classes' in arch:
        classes = arch['cls_head.num_classes']
        ends['cls_head'] = {
            'fc_cls.weight': (classes, width),
            'fc_cls.bias': (classes,),
        }
    expected: tuple[Any, ...] | None
    for name, tensor in weights.items():
        part, _, rest = name.partition('.')
        if block := re.fullmatch(r'blocks\.\d+\.(.+)', rest):
            prefix = f'{part}.blocks.0'
            hidden = len(weights[f'{prefix}.mlp.layers.0.0.weight'])
            inner = len(weights[f'{prefix}.norm1.weight'])
            expected = _block_shapes(inner, hidden).get(block[1])
        elif re.fullmatch(r'(fc_)?norm\.(weight|bias)', rest):
            inner = arch.get(f'{part}.embed_dims')
            expected = (inner,) if inner else None
        elif rest.startswith('pos_embed'):
            inner = arch.get(f'{part}.embed_dims', tensor.shape[-1])
            expected = (1, tensor.shape[1] if tensor.ndim == 3 else 'N', inner)
        else:
            expected = ends.get(part, {}).get(rest)
        if expected is not None and tuple(tensor.shape) != expected:
            raise ValueError(
                f'{name}: expected shape {by(expected)}, as the other weights have it, '
                f'got {by(tuple(tensor.shape))}'
            )


def _block_shapes(width: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Tell the shapes of a transformer block."""
    vectors = (
        *('norm1.weight', 'norm1.bias', 'norm2.weight', 'norm2.bias'),
        *('attn.q_bias', 'attn.v_bias', 'attn.proj.bias', 'mlp.layers.1.bias'),
        *('gamma_1', 'gamma_2'),
    )
    return {
        **dict.fromkeys(vectors, (width,)),
        'attn.qkv.weight': (3 * width, width),
        'attn.proj.weight': (width, width),
        'mlp.layers.0.0.weight': (hidden, width),
        'mlp.layers.0.0.bias': (hidden,),
        'mlp.layers.1.weight': (width, hidden),
    }


def _clip(weights: Mapping[str, Tensor], arch: Architecture) -> Architecture:
    """Tell the size of a clip by separable positions, of square frames."""
    if _SPATIAL not in weights:
        return {}
    side, steps = isqrt(weights[_SPATIAL].shape[1]), weights[_TEMPORAL].shape[1]
    return {
        'backbone.num_frames': steps * arch['backbone.tubelet_size'],
        'backbone.img_size': side * arch['backbone.patch_size'],
    }


def _stack(part: str, width: int, weights: Mapping[str, Tensor]) -> Architecture:
    """Tell the sizes of a stack of transformer blocks."""
    prefix = f'{part}.blocks.'
    blocks = {n[len(prefix) :].split('.')[0] for n in weights if n.startswith(prefix)}
    return {
        f'{part}.embed_dims': width,
        f'{part}.depth': len(blocks),
        f'{part}.mlp_ratio': weights[f'{prefix}0.mlp.layers.0.0.weight'].shape[0]
        / width,
        f'{part}.qkv_bias': f'{prefix}0.attn.q_bias' in weights,
    }


def assume(weights: Mapping[str, Tensor], arch: Architecture) -> Architecture:
    """Guess what a checkpoint does not say.

    Args:
        weights (Mapping[str, Tensor]): under our names.
        arch (Architecture): what it says.

    Returns:
        Architecture: only what was guessed: the heads of published models of that
        width, and clips of 16 frames if that fits the number of positions.
    """
    guess = {}
    for part in ('backbone', 'decoder'):
        heads = _HEADS.get(arch.get(f'{part}.embed_dims', 0))
        if part == 'decoder' and _SPATIAL in weights:
            heads = 16  # of SpatiotemporalMAE, at a width where VideoMAE has 8
        if heads and f'{part}.num_heads' not in arch:
            guess[f'{part}.num_heads'] = heads
    positions = num_positions(weights)
    if positions and token_grid(arch) is None:
        steps = 16 // arch['backbone.tubelet_size']
        side = isqrt(positions // steps)
        if steps * side**2 == positions:
            guess['backbone.num_frames'] = 16
            guess['backbone.img_size'] = side * arch['backbone.patch_size']
    return guess


def num_positions(weights: Mapping[str, Tensor]) -> int | None:
    """Count the places of the position tables.

    Args:
        weights (Mapping[str, Tensor]): under our names.

    Returns:
        int | None: N, or None if there is no table.
    """
    for name in ('backbone.pos_embed', 'sampler.pos_embed'):
        if name in weights:
            return weights[name].shape[1]
    if _SPATIAL in weights:
        return weights[_SPATIAL].shape[1] * weights[_TEMPORAL].shape[1]
    return None


def token_grid(arch: Architecture) -> Grid | None:
    """Tell the token grid.

    Args:
        arch (Architecture): of a checkpoint.

    Returns:
        tuple[int, int, int] | None: tokens along time, rows, columns; None if clip or
        token size are not known.
    """
    try:
        side = arch['backbone.img_size'] // arch['backbone.patch_size']
        return arch['backbone.num_frames'] // arch['backbone.tubelet_size'], side, side
    except KeyError:
        return None


def by(sizes: tuple[Any, ...]) -> str:
    """Write sizes as in 8x14x14."""
    return 'x'.join(map(str, sizes))


def summary(arch: Architecture) -> str:
    """Describe an architecture to people.

    Args:
        arch (Architecture): of a checkpoint.

    Returns:
        str: one line.
    """
    a: Callable[[str], Any] = arch.get
    width, depth = a('backbone.embed_dims'), a('backbone.depth')
    patch = a('backbone.patch_size')
    heads = [f'{a("backbone.num_heads")} heads'] if 'backbone.num_heads' in arch else []
    sizes = ', '.join([f'width {width}', f'depth {depth}', *heads])
    words = [
        f'{_NAMES.get((width, depth), "ViT")} ({sizes})',
        f'tokens of {by((a("backbone.tubelet_size"), patch, patch))} pixels',
    ]
    if grid := token_grid(arch):
        size = a('backbone.img_size')
        words.append(
            f'clips of {by((a("backbone.num_frames"), size, size))}, grid {by(grid)}'
        )
    if 'decoder.depth' in arch:
        words.append(
            f'decoder {a("decoder.embed_dims")} wide, {a("decoder.depth")} deep'
        )
    if 'cls_head.num_classes' in arch:
        words.append(f'{a("cls_head.num_classes")} classes')
    return ', '.join(words)


def config_text(arch: Architecture) -> str:
    """Write an architecture as MMEngine stores configs in checkpoints.

    Args:
        arch (Architecture): of a checkpoint.

    Returns:
        str: what :func:`said_by_config` reads.
    """
    model: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, value in arch.items():
        part, name = key.split('.')
        model[part][name] = value
    return f'model = {dict(model)}\n'
