"""From any known checkpoint to any other."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

from mmaction.models.backbones.vit_mae import get_sinusoid_encoding
from torch import Tensor

from .architecture import (
    OVERRIDABLE,
    Architecture,
    assume,
    by_part,
    check_shapes,
    describe,
    format_arch,
    is_valid,
    token_grid,
)
from .formats import Format, abbreviate, find_format, not_finite, recognize
from .io import CONFIG_FILE, read_file, stated_arch, unwrap, weights_in, write_file

_ABOUT_TRAINING = 'about the training run, apart from the sizes of the model'
_NOT_WEIGHTS = {
    'ema_state_dict': 'the raw weights of a run with EMA; state_dict holds the average',
    'model_ema': 'the averaged weights',
    'meta': _ABOUT_TRAINING,
    'args': _ABOUT_TRAINING,
    CONFIG_FILE: 'names of classes and settings of training, if any',
}


class Export(NamedTuple):
    """Weights as another code base names them.

    Attributes:
        format (Format): how.
        weights (dict[str, Tensor]): under its names.
        skipped (dict[str, str]): our names of those without a place there, and why.
    """

    format: Format
    weights: dict[str, Tensor]
    skipped: dict[str, str]


class Checkpoint(NamedTuple):
    """A checkpoint of any known kind.

    Attributes:
        format (Format): how its file names the weights.
        weights (dict[str, Tensor]): under our names, on the CPU; with the fixed
            position table, which other code bases compute anew.
        arch (Architecture): its model.
        assumed (Architecture): what of that is a guess.
        skipped (dict[str, str]): what else is in the file, and why it is not here.
    """

    format: Format
    weights: dict[str, Tensor]
    arch: Architecture
    assumed: Architecture
    skipped: dict[str, str]

    def to(self, family: str) -> Export:
        """Rename the weights for one of ``formats.FAMILIES``.

        Raises:
            ValueError: if it has no such model, or no place for a weight.
        """
        form = find_format(family, self.weights)
        return Export(form, *form.write(self.weights))


def parse_overrides(options: Sequence[str]) -> Architecture:
    """Read ``KEY=VALUE``, with a key of ``OVERRIDABLE`` and a value as in Python.

    Raises:
        ValueError: if an option is not of that form.
    """
    overrides = {}
    for option in options:
        key, _, text = option.partition('=')
        if key not in OVERRIDABLE:
            raise ValueError(
                f'--set: expected KEY=VALUE with a key of {", ".join(OVERRIDABLE)}, '
                f'got {option!r}'
            )
        try:
            value = ast.literal_eval(text.strip())
        except (SyntaxError, ValueError):
            value = None
        if not is_valid(key, value):
            norm = "{'type':'LN','eps':1e-6}"
            wanted = norm if key.endswith('norm_cfg') else 'a whole number above 0'
            wanted += ' or (height,width)' * key.endswith('img_size')
            raise ValueError(f'--set {key}: expected {wanted}, got {text!r}')
        overrides[key] = value
    return overrides


def read_checkpoint(
    path: str | Path, overrides: Architecture | None = None
) -> Checkpoint:
    """Read a checkpoint of any known kind.

    Args:
        path (str | Path): a file of torch or safetensors, or a folder of transformers.
        overrides (Architecture, optional): what it does not say about its model.

    Raises:
        FileNotFoundError: if there is nothing there.
        ValueError: if it is damaged, unsafe or of no known kind, if a weight is not
            finite or does not fit the others, or if an override has an unknown key or
            a wrong value.
    """
    for key, value in (overrides or {}).items():
        if key not in OVERRIDABLE or not is_valid(key, value):
            raise ValueError(
                f'overrides: expected keys {", ".join(OVERRIDABLE)} with values as in '
                f'a config, got {key}={value!r}'
            )
    content = read_file(path)
    try:
        stored = weights_in(content)
        skipped = {
            str(key): _NOT_WEIGHTS.get(key, 'training state')
            for key, value in content.items()
            if stored is not content and value is not stored
        }
        stored = unwrap(stored)
        form = recognize(stored)
        weights, no_op = form.read(stored)
        check_shapes(weights)
        arch = describe(weights, stated_arch(content) | (overrides or {}))
        if broken := not_finite(weights):
            raise ValueError(f'{abbreviate(broken)}: not finite (NaN or infinite)')
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None
    assumed = assume(weights, arch)
    arch |= assumed
    if not {'backbone.pos_embed', 'backbone.pos_embed_spatial'} & weights.keys():
        # MMAction2 keeps the fixed table as a buffer.
        if grid := token_grid(arch):
            width = arch['backbone.embed_dims']
            weights['backbone.pos_embed'] = get_sinusoid_encoding(prod(grid), width)
        else:
            skipped['backbone.pos_embed'] = (
                'no position table: the file does not tell its token grid, see --set'
            )
    return Checkpoint(form, weights, arch, assumed, skipped | no_op)


def convert(
    src: str | Path,
    dst: str | Path,
    to: str = 'ours',
    overrides: Architecture | None = None,
    force: bool = False,
) -> list[str]:
    """Convert a checkpoint.

    Args:
        src (str | Path): see :func:`read_checkpoint`.
        dst (str | Path): a file, written with safetensors if it ends so; for
            ``'transformers'``, a folder.
        to (str): one of ``formats.FAMILIES``. Defaults to ``'ours'``.
        overrides (Architecture, optional): what ``src`` does not say about its model.
        force (bool): overwrite what is there. Defaults to False.

    Returns:
        list[str]: lines on what was found, assumed, skipped, added and written.

    Raises:
        OSError: if ``src`` does not exist, or ``dst`` does and ``force`` is not set.
        ValueError: if ``src`` or ``overrides`` are wrong, the other side has no place
            for its content, or ``dst`` is a folder in place of a file or the reverse.
    """
    dst = Path(dst)
    if dst.exists():
        if not force:
            raise FileExistsError(f'{dst} exists: choose another name, or use --force')
        if dst.is_dir() != (to == 'transformers'):
            kinds = ('a folder', 'a file')
            wanted, got = kinds if to == 'transformers' else kinds[::-1]
            raise ValueError(
                f'{dst}: expected {wanted} for {to}, got {got}: choose another name'
            )
    source = read_checkpoint(src, overrides)
    target = source.to(to)
    write_file(dst, to, target.weights, source.arch)
    return [
        *_report(source, target),
        f'wrote: {target.format.title}, {len(target.weights)} weights, to {dst}',
    ]


def _report(source: Checkpoint, target: Export) -> list[str]:
    sizes = {k: t.numel() for k, t in source.weights.items()}
    count = sum(sizes.values()) - sizes.get('backbone.pos_embed', 0)
    lines = [f'found: {source.format.title}, {count / 1e6:.1f} M parameters']
    for part, sizes in by_part(source.arch).items():
        lines.append(f'{part}: {format_arch(sizes)}')
    if source.assumed:
        lines.append(f'assumed: {format_arch(source.assumed)}')
    by_reason = defaultdict(list)
    for name, reason in [*source.skipped.items(), *target.skipped.items()]:
        by_reason[reason].append(name)
    for reason, names in by_reason.items():
        lines.append(f'skipped: {abbreviate(names)} ({reason})')
    if added := [name for name in target.weights if target.format.is_no_op(name)]:
        lines.append(f'added: {abbreviate(added)} (zero, they change nothing)')
    return lines
