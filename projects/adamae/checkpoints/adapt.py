"""Weights into models without a gap, and positions to another grid."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from math import isqrt, prod
from typing import Any, Literal

import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from projects.adamae_command import tool_name

from ..utils.safe_loading import CheckpointMismatch
from .architecture import (
    Architecture,
    Grid,
    Weights,
    describe,
    format_shape,
    token_grid,
)
from .formats import abbreviate, not_finite, recognize
from .io import stated_arch, unwrap, weights_in

_TABLES = ('pos_embed', 'pos_embed_spatial', 'pos_embed_temporal')

Purpose = Literal['train', 'test', 'resume']


def resize_positions(table: Tensor, old: Grid, new: Grid) -> Tensor:
    """Interpolate a position table: bicubic over space, linear over time.

    Args:
        table (Tensor): shape (1, N, D), float.
        old (tuple[int, int, int]): its grid, along time, rows, columns; N positions.
        new (tuple[int, int, int]): the grid wanted, N' positions.

    Returns:
        Tensor: shape (1, N', D), same dtype; equal to ``table`` if the grids are.
    """
    t, h, w = new
    x = table.float().reshape(*old, -1).permute(0, 3, 1, 2)  # t, D, h, w
    x = F.interpolate(x, size=(h, w), mode='bicubic', align_corners=False)
    x = x.flatten(1).T.unsqueeze(0)  # 1, D * h * w, t
    x = F.interpolate(x, size=t, mode='linear', align_corners=False)
    x = x[0].T.reshape(t, -1, h, w).permute(0, 2, 3, 1)
    return x.reshape(1, t * h * w, -1).to(table.dtype)


def adapt_checkpoint(
    checkpoint: MutableMapping[str, Any],
    model: nn.Module,
    purpose: Purpose,
    source: str = 'the checkpoint',
) -> dict[str, Tensor]:
    """Make the weights of a checkpoint those of a model, in place, or reject them.

    Afterwards they are the model's to the last name and shape. What may differ:

    - resuming: nothing;
    - testing: position tables may be of another grid and are interpolated; a fixed
      one may be missing. A head without weights, such as MMAction2's ``FeatureHead``,
      takes the place of a classifier's;
    - training: also, the classification head may have another number of classes, or
      the checkpoint may come from pre-training. What only one of the two models
      has is then skipped or left as it was initialized. So is a sampler, all of it,
      where pre-training goes on from weights without one, such as VideoMAE's.

    Each difference is logged.

    Args:
        checkpoint (MutableMapping[str, Any]): as loaded from a file.
        model (nn.Module): a recognizer.
        purpose (str): ``'train'``, ``'test'`` or ``'resume'``.
        source (str): where the checkpoint comes from, for messages.

    Returns:
        dict[str, Tensor]: the weights in ``checkpoint``.

    Raises:
        CheckpointMismatch: if anything else differs, if a weight is not finite, or if a
            checkpoint without the state of a training run is to be resumed.
    """
    if purpose == 'resume' and 'message_hub' not in checkpoint:
        raise CheckpointMismatch(
            f'{source} holds no training state, so it cannot be resumed: start from '
            'its weights with load_from'
        )
    stored = _find_weights(checkpoint, source)
    weights = unwrap(stored)
    own = model.state_dict()
    if purpose != 'resume':
        _resize_pos_embed(weights, model, _describe(weights, checkpoint))
    if purpose == 'train' and _has_head(own):
        if _has_head(weights):
            _reset_head(weights, own)
        else:
            drop = ('sampler.', 'decoder.', 'backbone.norm.')
            new = ('backbone.fc_norm.', 'cls_head.')
            _drop_pretraining_modules(weights, own, drop, new)
    elif purpose == 'train':
        _begin_sampler(weights, own)
    elif purpose == 'test' and hasattr(model, 'cls_head') and not _has_head(own):
        _drop_head(weights)
    _check(weights, model, source)
    if purpose == 'resume' and not _holds_training_state(checkpoint):
        raise CheckpointMismatch(
            f'{source}: expected the state of a training run, with meta.epoch, '
            'meta.iter and the three parts of message_hub, got less; resume from '
            'another checkpoint, or start from its weights with load_from'
        )
    stored.clear()
    stored.update(weights)
    return stored


def load_pretrained(
    module: nn.Module, checkpoint: str, prefix: str | None = None
) -> None:
    """Load an encoder as ``init_cfg=dict(type='Pretrained', ...)`` says, all of it.

    The final norm of pre-training may give way to the one of a classifier, and
    position tables are interpolated to the module's grid; anything else must match.

    Args:
        module (nn.Module): an encoder.
        checkpoint (str): file or URL.
        prefix (str, optional): of the encoder's weights, usually ``'backbone.'``.

    Raises:
        CheckpointMismatch: if they are not the weights of this encoder.
    """
    content = CheckpointLoader.load_checkpoint(checkpoint, 'cpu', logger='current')
    start = f'{prefix.rstrip(".")}.' if prefix else ''
    stored = _find_weights(content, checkpoint)
    weights = {
        name.removeprefix(start): tensor
        for name, tensor in stored.items()
        if name.startswith(start)
    }
    _resize_pos_embed(weights, module, _describe(stored, content))
    own = module.state_dict()
    _drop_pretraining_modules(weights, own, drop=('norm.',), new=('fc_norm.',))
    _check(weights, module, checkpoint)
    module.load_state_dict(weights)


def _holds_training_state(checkpoint: Mapping[str, Any]) -> bool:
    """Tell whether MMEngine can resume what is not weights or optimizer."""
    meta, hub = checkpoint.get('meta'), checkpoint['message_hub']
    parts = ('log_scalars', 'runtime_info', 'resumed_keys')
    return (
        isinstance(meta, Mapping)
        and all(type(meta.get(key)) is int for key in ('epoch', 'iter'))
        and isinstance(hub, Mapping)
        and all(isinstance(hub.get(part), Mapping) for part in parts)
        and all(isinstance(name, str) for part in parts for name in hub[part])
    )


def _log(message: str, level: int = logging.INFO) -> None:
    print_log(message, logger='current', level=level)


def _find_weights(content: Any, source: str) -> dict[str, Tensor]:
    """Find the weights, under our names or those of a user's own model."""
    try:
        weights = weights_in(content)
    except ValueError as error:
        raise CheckpointMismatch(f'{source}: {error}') from None
    try:
        form = recognize(unwrap(weights))
    except ValueError:
        return weights
    if form.family not in ('ours', 'mmaction'):
        raise CheckpointMismatch(
            f'{source} is a {form.title}: convert it with '
            f'{tool_name("convert_checkpoint.py")}'
        )
    return weights


def _has_head(weights: Weights) -> bool:
    return any(name.startswith('cls_head.') for name in weights)


def _describe(weights: Weights, content: Mapping[str, Any]) -> Architecture:
    """Tell the architecture, or nothing if it is of a user's own model."""
    try:
        return describe(weights, stated_arch(content))
    except (LookupError, ValueError):
        return {}


def _resize_pos_embed(
    weights: dict[str, Tensor], model: nn.Module, arch: Architecture
) -> None:
    """Bring position tables to the grid of a model."""
    stated = token_grid(arch)
    buffers = dict(model.named_buffers())
    for name, own in model.state_dict().items():
        parent, _, leaf = name.rpartition('.')
        grid = getattr(model.get_submodule(parent), 'grid_size', None)
        if grid is None or leaf not in _TABLES:
            continue
        if name not in weights:
            if name in buffers:
                weights[name] = own
                _log(f'{name}: not in the checkpoint, the fixed table of the model')
            continue
        table, num = weights[name], own.shape[1]
        # Of another width, or no table at all: reported by _check.
        if table.ndim != 3 or table.shape[2] != own.shape[2]:
            continue
        found = table.shape[1]
        h, w = grid[-2:]
        known = True
        old: Grid
        if leaf == 'pos_embed_temporal':
            old, new = (found, 1, 1), (num, 1, 1)
        elif leaf == 'pos_embed_spatial':
            old, new = (1, isqrt(found), isqrt(found)), (1, h, w)
            if stated and prod(stated[1:]) == found:
                old = (1, *stated[1:])
            elif found == num:
                old = new
            elif prod(old) != found:
                raise CheckpointMismatch(
                    f'{name}: expected positions of square frames, got {found}, and '
                    'the file does not tell their size; state it with '
                    f'{tool_name("convert_checkpoint.py")} --set'
                )
        else:
            new = (num // (h * w), h, w)
            if stated and prod(stated) == found:
                old = stated
            elif found == num:
                old = new
            else:
                known, old = False, _guess_grid(found, new)
        # As many tokens can be another grid, too: 4 rows of 6 are not 6 of 4.
        if old == new:
            continue
        weights[name] = resize_positions(table, old, new)
        guess = '' if known else ' (the first is a guess: the file does not tell)'
        sizes = f'{format_shape(old)} to {format_shape(new)}'
        _log(f'{name}: interpolated from {sizes} tokens{guess}')


def _guess_grid(positions: int, new: Grid) -> Grid:
    """Guess the grid of a table: as many frames as the model, or as many pixels."""
    t, h, w = new
    side = isqrt(positions // t)
    if t * side**2 == positions:
        return t, side, side
    if positions % (h * w) == 0:
        return positions // (h * w), h, w
    raise CheckpointMismatch(
        f'the checkpoint has positions for {positions} tokens and does not tell their '
        f'grid: expected as many frames or as many pixels as the model has '
        f'({format_shape(new)} tokens); state them with '
        f'{tool_name("convert_checkpoint.py")} --set'
    )


def _reset_head(weights: dict[str, Tensor], own: Weights) -> None:
    """Keep the model's head where only the number of classes differs."""
    reset = [
        name
        for name, tensor in own.items()
        if name.startswith('cls_head.')
        and name in weights
        and weights[name].shape != tensor.shape
        and weights[name].shape[1:] == tensor.shape[1:]
    ]
    if reset:
        old, new = len(weights[reset[0]]), len(own[reset[0]])
        weights.update({name: own[name] for name in reset})
        _log(
            f'the checkpoint classifies into {old} classes, the model into {new}: '
            f'{", ".join(reset)} re-initialized',
            logging.WARNING,
        )


def _drop_head(weights: dict[str, Tensor]) -> None:
    """Leave the classifier out, where only features are wanted."""
    dropped = [name for name in weights if name.startswith('cls_head.')]
    for name in dropped:
        del weights[name]
    if dropped:
        _log(f'the model has no classifier: {", ".join(dropped)} left out')


def _begin_sampler(weights: dict[str, Tensor], own: Weights) -> None:
    """Keep the model's new sampler where a masked autoencoder comes without one."""
    start = 'sampler.'
    new = {name: own[name] for name in own if name.startswith(start)}
    has_decoder = any(name.startswith('decoder.') for name in weights)
    if new and has_decoder and not any(name.startswith(start) for name in weights):
        weights.update(new)
        _log(
            'the checkpoint has no token sampler: that of the model begins as it was '
            'initialized',
            logging.WARNING,
        )


def _drop_pretraining_modules(
    weights: dict[str, Tensor],
    own: Weights,
    drop: tuple[str, ...],
    new: tuple[str, ...],
) -> None:
    """Skip what only pre-training has, keep what only the model has."""
    dropped = [n for n in weights if n.startswith(drop) and n not in own]
    kept = [n for n in own if n.startswith(new) and n not in weights]
    for name in dropped:
        del weights[name]
    weights.update({name: own[name] for name in kept})
    if dropped or kept:
        _log(
            f'weights of pre-training, skipped: {_modules(dropped, drop)}; new in the '
            f'model: {_modules(kept, new)}'
        )


def _modules(names: list[str], prefixes: tuple[str, ...]) -> str:
    found = [p.rstrip('.') for p in prefixes if any(n.startswith(p) for n in names)]
    return ', '.join(found) or 'nothing'


def _check(weights: Weights, model: nn.Module, source: str) -> None:
    """Compare names and shapes."""
    own = model.state_dict()
    problems = {
        'missing': [name for name in own if name not in weights],
        'unexpected': [name for name in weights if name not in own],
        'of another shape': [
            f'{name} {tuple(weights[name].shape)} instead of {tuple(tensor.shape)}'
            for name, tensor in own.items()
            if name in weights and weights[name].shape != tensor.shape
        ],
    }
    if any(problems.values()):
        listed = '; '.join(f'{k}: {abbreviate(v)}' for k, v in problems.items() if v)
        raise CheckpointMismatch(
            f'{source} does not fit the {type(model).__name__}. {listed}. '
            f'{_compare(own, weights)}Use the config it was trained with'
        )
    if broken := not_finite(weights):
        raise CheckpointMismatch(
            f'{source}: {abbreviate(broken)}: not finite (NaN or infinite); take an '
            'earlier checkpoint'
        )


def _compare(own: Weights, weights: Weights) -> str:
    """Name the settings in which two models of ours differ."""
    expected, got = _describe(own, {}), _describe(weights, {})
    differences = [
        f'{key}={got.get(key)} instead of {expected.get(key)}'
        for key in (expected | got if expected and got else ())
        if got.get(key) != expected.get(key)
    ]
    return f'It has {", ".join(differences)}. ' if differences else ''
