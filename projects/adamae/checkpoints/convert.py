"""From any known checkpoint to any other."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path

from mmaction.models.backbones.vit_mae import get_sinusoid_encoding

from .architecture import SAYABLE, Architecture, assume, describe, summary, token_grid
from .files import read_checkpoint, write_checkpoint
from .formats import find_format, not_finite, recognise, some, to_ours


def parse_said(options: Sequence[str]) -> Architecture:
    """Read what a command line says about a model.

    Args:
        options (Sequence[str]): of the form ``KEY=VALUE``, values as in Python.

    Returns:
        Architecture: the same as a dict.

    Raises:
        ValueError: if one is not of that form.
    """
    said = {}
    for option in options:
        key, _, text = option.partition('=')
        try:
            said[key] = ast.literal_eval(text.strip())
        except (SyntaxError, ValueError):
            raise ValueError(
                '--say: expected KEY=VALUE with a number, as '
                f'backbone.num_frames=16, got {option!r}'
            ) from None
    return said


def _check_said(said: Architecture) -> None:
    for key, value in said.items():
        if key not in SAYABLE:
            raise ValueError(f'--say: expected {", ".join(SAYABLE)}, got {key}')
        if key.endswith('norm_cfg'):
            if not isinstance(value, dict) or not {'type', 'eps'} <= value.keys():
                raise ValueError(
                    f"--say {key}: expected {{'type':'LN','eps':1e-6}}, got {value!r}"
                )
        elif type(value) is not int or value < 1:
            raise ValueError(f'--say {key}: expected a whole number, got {value!r}')


def convert(
    src: str | Path,
    dst: str | Path,
    to: str = 'ours',
    say: Architecture | None = None,
    force: bool = False,
) -> Iterator[str]:
    """Convert a checkpoint, telling about it on the way.

    Args:
        src (str | Path): a checkpoint of any known kind, see ``read_checkpoint``.
        dst (str | Path): what to write, see ``write_checkpoint``.
        to (str): one of ``formats.FAMILIES``. Defaults to ``'ours'``.
        say (Architecture, optional): what ``src`` does not say about its model.
        force (bool): overwrite what is there. Defaults to False.

    Yields:
        str: lines on what was found, assumed, left out and written.

    Raises:
        FileExistsError: if ``dst`` exists and ``force`` is not set.
        FileNotFoundError: if ``src`` does not exist.
        ValueError: if ``src`` is damaged, unsafe or of no known kind, if a weight is
            not finite or does not fit the others, if the other side has no place for
            its content, if ``dst`` is a folder that should be a file or the other way
            round, or ``say`` has an unknown key or value.
    """
    _check_said(say or {})
    if Path(dst).exists():
        if not force:
            raise FileExistsError(f'{dst} exists: choose another name, or use --force')
        if Path(dst).is_dir() != (to == 'transformers'):
            kinds = ('a folder', 'a file')
            wanted, got = kinds if to == 'transformers' else kinds[::-1]
            raise ValueError(
                f'{dst}: expected {wanted} for {to}, got {got}: choose another name'
            )
    source = read_checkpoint(src)
    try:
        weights = to_ours(source.weights)
        arch = describe(weights, source.said | (say or {}))
        if broken := not_finite(weights):
            raise ValueError(f'{some(broken)}: not finite (NaN or infinite)')
    except ValueError as error:
        raise ValueError(f'{src}: {error}') from None
    guess = assume(weights, arch)
    arch |= guess
    target = find_format(to, weights)
    millions = (
        sum(t.numel() for n, t in weights.items() if n != 'backbone.pos_embed') / 1e6
    )
    found = recognise(source.weights)
    assert found is not None  # else to_ours has refused it
    yield f'found: {found.title}'
    yield f'model: {summary(arch)}; {millions:.1f} M parameters'
    if guess:
        yield 'assumed: ' + ', '.join(f'{k}={v}' for k, v in guess.items())
    for name, reason in source.left_out.items():
        yield f'left out: {name} ({reason})'
    if idle := found.idle_in(source.weights):
        yield (
            f'left out: {len(idle)} biases of attention keys (they move all logits of '
            'a query alike, which softmax takes away: the model computes the same)'
        )

    if not {'backbone.pos_embed', 'backbone.pos_embed_spatial'} & weights.keys():
        # Other code bases make the fixed table anew, MMAction2 keeps it as a buffer.
        if grid := token_grid(arch):
            width = arch['backbone.embed_dims']
            weights['backbone.pos_embed'] = get_sinusoid_encoding(prod(grid), width)
        else:
            yield 'no position table: the file does not tell its token grid (see --say)'
    written, left_out = target.write(weights)
    counts = Counter((name.split('.')[0], reason) for name, reason in left_out.items())
    for (part, reason), count in counts.items():
        yield f'left out: {count} weights of {part} ({reason})'
    if idle := target.idle_in(written):
        yield f'added: {len(idle)} biases of attention keys, zero'
    write_checkpoint(dst, to, written, weights, arch)
    yield f'wrote: {target.title}, {len(written)} weights, to {dst}'
