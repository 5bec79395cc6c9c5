"""From any known checkpoint to any other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod
from pathlib import Path

from mmaction.models.backbones.vit_mae import get_sinusoid_encoding

from .architecture import SAYABLE, Architecture, assume, describe, summary, token_grid
from .files import read_checkpoint, write_checkpoint
from .formats import find_format, recognise, to_ours


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
        ValueError: if ``src`` is damaged, unsafe or of no known kind, if the other
            side has no place for its content, or ``say`` has an unknown key.
    """
    if unknown := set(say or {}) - set(SAYABLE):
        raise ValueError(f'--say: expected {", ".join(SAYABLE)}, got {unknown}')
    if Path(dst).exists() and not force:
        raise FileExistsError(f'{dst} exists: choose another name, or use --force')
    source = read_checkpoint(src)
    try:
        weights = to_ours(source.weights)
        arch = describe(weights, source.said | (say or {}))
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

    if 'backbone.pos_embed' not in weights:
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
    write_checkpoint(dst, to, written, weights, arch)
    yield f'wrote: {target.title}, {len(written)} weights, to {dst}'
