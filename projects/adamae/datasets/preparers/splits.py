"""Which samples are for training, validation and testing."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import floor, isclose

from .collection import SPLITS, Sample
from .duplicates import Groups


def assign_splits(
    samples: Sequence[Sample],
    fractions: Sequence[float],
    seed: int = 0,
    together: Iterable[Sequence[str]] = (),
) -> list[str]:
    """Give every sample a split; those that have one keep it.

    Samples of one group, of one file, or with the same content are on one side: that of
    those that have a split. The others are split class by class. Each is at the place
    of the hash of its name and the seed, so that one more moves hardly any other. A
    class that is too small to be on every side leaves one sample in the first split;
    the rest of all such classes is split as if it were one class.

    Args:
        samples (Sequence[Sample]): of a collection.
        fractions (Sequence[float]): shares of train, val and test.
        seed (int): another one gives other splits. Defaults to 0.
        together (Iterable[Sequence[str]]): names of samples with the same content.

    Returns:
        list[str]: of ``SPLITS``, one for each sample.

    Raises:
        ValueError: if ``fractions`` are no shares.
    """
    if (
        len(fractions) != len(SPLITS)
        or not all(0 <= share <= 1 for share in fractions)
        or not isclose(sum(fractions), 1, abs_tol=1e-6)
    ):
        got = ' '.join(f'{share:g}' for share in fractions)
        raise ValueError(
            f'split: expected shares of {", ".join(SPLITS)} that add up to 1, such as '
            f'0.8 0.1 0.1, got {got}'
        )
    splits: dict[int, str] = {}
    strata: dict[tuple[str | None, ...], list[list[int]]] = defaultdict(list)
    for unit in _units(samples, together):
        official = {samples[i].split for i in unit} - {None}
        # Who has no split yet must not tell training what the others are tested on.
        first = next((s for s in reversed(SPLITS) if s in official), None)
        if first:
            splits |= {i: samples[i].split or first for i in unit}
        else:
            labels = {samples[i].label for i in unit}
            strata[tuple(labels) if len(labels) == 1 else ('', '')].append(unit)
    small: list[list[int]] = []
    largest = max(range(len(SPLITS)), key=lambda i: fractions[i])
    for units in strata.values():
        units.sort(key=lambda unit: _place(samples, unit, seed))
        sides = _sides(units, fractions)
        wanted = {s for s, share in zip(SPLITS, fractions, strict=True) if share}
        if len(strata) > 1 and set(sides) != wanted:
            splits |= dict.fromkeys(units[-1], SPLITS[0 if fractions[0] else largest])
            small += units[:-1]
            continue
        for unit, side in zip(units, sides, strict=True):
            splits |= dict.fromkeys(unit, side)
    small.sort(key=lambda unit: _place(samples, unit, seed))
    for unit, side in zip(small, _sides(small, fractions), strict=True):
        splits |= dict.fromkeys(unit, side)
    return [splits[i] for i in range(len(samples))]


def _units(
    samples: Sequence[Sample], together: Iterable[Sequence[str]]
) -> list[list[int]]:
    """Put together what has to be on one side."""
    groups = Groups(len(samples))
    firsts: dict[tuple[str, str], int] = {}
    for i, sample in enumerate(samples):
        groups.join(i, firsts.setdefault(('name', sample.name), i))
        if sample.group is not None:
            groups.join(i, firsts.setdefault(('group', sample.group), i))
    for names in together:
        places = [firsts['name', name] for name in names if ('name', name) in firsts]
        for i in places[1:]:
            groups.join(places[0], i)
    return groups.members()


def _place(samples: Sequence[Sample], unit: Sequence[int], seed: int) -> bytes:
    """Give a number that depends on names and seed only; one more rarely changes it."""
    keys = {samples[i].group or samples[i].name for i in unit}
    # Systems spell the same name in different ways.
    normal = (unicodedata.normalize('NFC', key) for key in keys)
    return min(
        hashlib.sha256(f'{seed}\0{key}'.encode('utf-8', 'surrogateescape')).digest()
        for key in normal
    )


def _sides(units: Sequence[Sequence[int]], fractions: Sequence[float]) -> list[str]:
    """Cut a sequence of units into splits, by the samples in them: test first."""
    total = sum(map(len, units))
    # Half a sample is one, in spite of rounding.
    test, val = (floor(share * total + 0.5 + 1e-9) for share in fractions[:0:-1])
    sides, before = [''] * len(units), 0
    # A unit larger than both sides leaves nothing to those that fit: it comes last.
    for i in sorted(range(len(units)), key=lambda i: len(units[i]) > test + val):
        middle = before + len(units[i]) / 2
        before += len(units[i])
        if middle < test:
            sides[i] = 'test'
        elif middle < test + val:
            sides[i] = 'val'
        else:
            sides[i] = 'train'
    return sides
