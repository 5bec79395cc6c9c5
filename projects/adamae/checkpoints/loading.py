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

from .architecture import (
    Architecture,
    Grid,
    by,
    describe,
    said_by_config,
    summary,
    token_grid,
)
from .formats import not_finite, recognise, some, weights_in

Purpose = Literal['train', 'test', 'resume']


class CheckpointMismatch(ValueError):
    """A checkpoint does not hold the weights of the model."""


def resize_positions(table: Tensor, old: Grid, new: Grid) -> Tensor:
    """Interpolate a position table: bicubic over space, linear over time.

    Args:
        table (Tensor): shape (1, N, D), float.
        old (tuple[int, int, int]): its grid, along time, rows, columns; N places.
        new (tuple[int, int, int]): the grid wanted, N' places.

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


def fit_checkpoint(
    checkpoint: MutableMapping[str, Any],
    model: nn.Module,
    purpose: Purpose,
    source: str = 'the checkpoint',
    said: Architecture | None = None,
) -> None:
    """Make the weights of a checkpoint those of a model, in place, or refuse them.

    Afterwards they are the model's to the last name and shape. What may differ:

    - resuming: nothing;
    - testing: position tables may be of another grid and are interpolated; a fixed
      one may be missing;
    - training: also, the classification head may have another number of classes, or
      the checkpoint may come from pre-training. What only one of the two models
      has is then left out or left as it was initialised.

    Each difference is logged.

    Args:
        checkpoint (MutableMapping[str, Any]): as loaded from a file.
        model (nn.Module): a recognizer.
        purpose (str): ``'train'``, ``'test'`` or ``'resume'``.
        source (str): where it comes from, for messages.
        said (Architecture, optional): what its file says about the model beside the
            weights. Defaults to what its ``meta`` says.

    Raises:
        CheckpointMismatch: if anything else differs, if a weight is not finite, or if a
            checkpoint without the state of a training run is to be resumed.
    """
    if purpose == 'resume' and 'message_hub' not in checkpoint:
        raise CheckpointMismatch(
            f'{source} holds no training state, so it cannot be resumed: start from '
            'its weights with load_from'
        )
    weights = _weights(checkpoint, source)
    for name in [name for name in weights if name.startswith('module.')]:
        weights[name.removeprefix('module.')] = weights.pop(name)
    own = model.state_dict()
    if purpose != 'resume':
        _fit_positions(weights, model, _stated_grid(checkpoint, said))
    if purpose == 'train' and any(name.startswith('cls_head.') for name in own):
        if any(name.startswith('cls_head.') for name in weights):
            _renew_head(weights, own)
        else:
            _swap_ends(
                weights,
                own,
                drop=('sampler.', 'decoder.', 'backbone.norm.'),
                new=('backbone.fc_norm.', 'cls_head.'),
            )
    _check(weights, model, source)


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
    weights = {
        name.removeprefix(start): tensor
        for name, tensor in _weights(content, checkpoint).items()
        if name.startswith(start)
    }
    _fit_positions(weights, module, _stated_grid(content))
    _swap_ends(weights, module.state_dict(), drop=('norm.',), new=('fc_norm.',))
    _check(weights, module, checkpoint)
    module.load_state_dict(weights)


def _log(message: str, level: int = logging.INFO) -> None:
    print_log(message, logger='current', level=level)


def _weights(content: Any, source: str) -> dict[str, Tensor]:
    """Find the weights, under our names or unknown ones."""
    try:
        weights = weights_in(content)
    except ValueError as error:
        raise CheckpointMismatch(f'{source}: {error}') from None
    form = recognise(weights)
    if form and form.family not in ('ours', 'mmaction'):
        raise CheckpointMismatch(
            f'{source} is a {form.title}: convert it with tools/convert_checkpoint.py'
        )
    return weights


def _stated_grid(
    checkpoint: Mapping[str, Any], said: Architecture | None = None
) -> Grid | None:
    """Read the token grid from the config that a checkpoint carries."""
    if said is None:
        meta = checkpoint.get('meta')
        text = meta.get('cfg') if isinstance(meta, Mapping) else None
        said = said_by_config(text) if isinstance(text, str) else {}
    try:
        return token_grid(describe(weights_in(checkpoint), said))
    except (KeyError, ValueError):
        return None


def _fit_positions(
    weights: MutableMapping[str, Tensor], model: nn.Module, stated: Grid | None
) -> None:
    """Bring position tables to the grid of a model."""
    buffers = dict(model.named_buffers())
    for name, wanted in model.state_dict().items():
        parent, _, leaf = name.rpartition('.')
        grid = getattr(model.get_submodule(parent), 'grid_size', None)
        if grid is None:
            continue
        if leaf in ('pos_embed_spatial', 'pos_embed_temporal') and name in weights:
            _fit_separable(weights, name, wanted.shape[1], grid[-2:])
        if leaf != 'pos_embed':
            continue
        h, w = grid[-2:]
        new = (wanted.shape[1] // (h * w), h, w)
        if name not in weights:
            if name in buffers:
                weights[name] = wanted
                _log(f'{name}: not in the checkpoint, fixed table of {by(new)} tokens')
        elif weights[name].shape[1] != wanted.shape[1]:
            places = weights[name].shape[1]
            known = stated if stated and prod(stated) == places else None
            old = known or _guess(places, new)
            weights[name] = resize_positions(weights[name], old, new)
            _log(
                f'{name}: interpolated from {by(old)} to {by(new)} tokens'
                + ('' if known else ' (the first is a guess: the file does not tell)')
            )


def _fit_separable(
    weights: MutableMapping[str, Tensor], name: str, places: int, frame: tuple[int, int]
) -> None:
    """Bring a table over space or one over time to another number of places."""
    found = weights[name].shape[1]
    if found == places:
        return
    old, new = (found, 1, 1), (places, 1, 1)
    if name.endswith('spatial'):
        side = isqrt(found)
        if side**2 != found:
            raise CheckpointMismatch(
                f'{name}: expected positions of square frames, got {found}'
            )
        old, new = (1, side, side), (1, *frame)
    weights[name] = resize_positions(weights[name], old, new)
    _log(f'{name}: interpolated from {by(old)} to {by(new)} tokens')


def _guess(places: int, new: Grid) -> Grid:
    """Guess the grid of a table: as many frames as the model, or as many pixels."""
    t, h, w = new
    side = isqrt(places // t)
    if t * side**2 == places:
        return t, side, side
    if places % (h * w) == 0:
        return places // (h * w), h, w
    raise CheckpointMismatch(
        f'the checkpoint has positions for {places} tokens and does not tell their '
        f'grid: expected as many frames or as many pixels as the model has ({by(new)} '
        'tokens); state them with tools/convert_checkpoint.py --say'
    )


def _renew_head(weights: MutableMapping[str, Tensor], own: dict[str, Tensor]) -> None:
    """Keep the model's head where only the number of classes differs."""
    renewed = [
        name
        for name, tensor in own.items()
        if name.startswith('cls_head.')
        and name in weights
        and weights[name].shape != tensor.shape
        and weights[name].shape[1:] == tensor.shape[1:]
    ]
    if renewed:
        old, new = len(weights[renewed[0]]), len(own[renewed[0]])
        weights.update({name: own[name] for name in renewed})
        _log(
            f'the checkpoint classifies into {old} classes, the model into {new}: '
            f'{", ".join(renewed)} re-initialised',
            logging.WARNING,
        )


def _swap_ends(
    weights: MutableMapping[str, Tensor],
    own: dict[str, Tensor],
    drop: tuple[str, ...],
    new: tuple[str, ...],
) -> None:
    """Leave out what only pre-training has, keep what only the model has."""
    dropped = [n for n in weights if n.startswith(drop) and n not in own]
    kept = [n for n in own if n.startswith(new) and n not in weights]
    for name in dropped:
        del weights[name]
    weights.update({name: own[name] for name in kept})
    if dropped or kept:
        _log(
            f'weights of pre-training, left out: {_parts(dropped, drop)}; new in the '
            f'model: {_parts(kept, new)}'
        )


def _parts(names: list[str], prefixes: tuple[str, ...]) -> str:
    found = [p.rstrip('.') for p in prefixes if any(n.startswith(p) for n in names)]
    return ', '.join(found) or 'nothing'


def _check(weights: Mapping[str, Tensor], model: nn.Module, source: str) -> None:
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
        listed = '; '.join(f'{k}: {some(v)}' for k, v in problems.items() if v)
        raise CheckpointMismatch(
            f'{source} does not fit the {type(model).__name__}. {listed}. '
            f'{_compare(own, weights)}Use the config it was trained with'
        )
    if broken := not_finite(weights):
        raise CheckpointMismatch(
            f'{source}: {some(broken)}: not finite (NaN or infinite); take an earlier '
            'checkpoint'
        )


def _compare(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    """Tell two architectures apart in words, if both are ours and differ."""
    try:
        expected, got = (summary(describe(w, {})) for w in (own, weights))
    except (KeyError, ValueError):
        return ''
    return f'Expected a {expected}; got a {got}. ' if expected != got else ''
