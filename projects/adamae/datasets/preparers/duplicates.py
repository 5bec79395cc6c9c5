"""Find videos that show the same, however they are encoded.

A video is described by a few small gray pictures at fixed shares of its length. Two
show the same if these pictures look alike, change alike and as much: the first alone
holds for all videos of a fixed camera, the second for like things that move alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

#: Pictures of a video, and their height and width.
NUM_PICTURES, SIDE = 6, 12

# Correlation of what changes, and of what stays. Of files of one video with other
# codecs, at a quarter of the size or with coarse coding, it was above 0.94; of 300
# videos of like things, below 0.56.
_SAME_CHANGE, _SAME_SCENE = 0.9, 0.9
# How many times stronger than in the other what changes may be: re-encoded at half the
# size and coarsely, or made 15% brighter, it was up to 1.3 times; that of things that
# moved alike in two videos, 1.8 to 3.6 times.
_SAME_STRENGTH = 1.5
# Gray levels (root mean square) of change below which coding noise decides.
_LEAST_CHANGE = 0.5
# Lengths may differ by this share, and by these seconds: a frame more or less.
_SAME_LENGTH, _SECONDS = 0.03, 0.15
# Vectors are compared in fewer dimensions first (Johnson and Lindenstrauss): a
# correlation of 0.9 stays within 0.08 of it with three standard deviations.
_DIMENSIONS, _FIRST_LOOK = 64, 0.82
_BLOCK = 2048


def find_duplicates(seconds: Sequence[float], pictures: np.ndarray) -> list[list[int]]:
    """Group the videos that show the same.

    Args:
        seconds (Sequence[float]): length of each video.
        pictures (np.ndarray): uint8, shape (V, ``NUM_PICTURES``, ``SIDE``, ``SIDE``).

    Returns:
        list[list[int]]: numbers of videos, in order; only groups of at least two.
        Videos in which nothing moves are in none: there, one scene looks as another
        video of it.
    """
    order = np.argsort(np.asarray(seconds), kind='stable')
    lengths = np.asarray(seconds, dtype=float)[order]
    flat = pictures[order].reshape(len(order), NUM_PICTURES, SIDE * SIDE)
    scene = _unit(flat.mean(1) - flat.mean((1, 2))[:, None])[0]
    change, strength = _unit(_change(flat))
    draw = np.random.default_rng(0).standard_normal((change.shape[1], _DIMENSIONS))
    coarse = _unit(change @ draw.astype(np.float32))[0]
    links = Groups(len(order))
    coarse[strength < _LEAST_CHANGE] = 0
    for rows, columns in _blocks(lengths):
        likeness = coarse[rows] @ coarse[columns].T
        if likeness.max() <= _FIRST_LOOK:  # of most, and quickly said
            continue
        left, right = np.nonzero(likeness > _FIRST_LOOK)
        left, right = left + rows.start, right + columns.start
        keep = left < right
        for begin in range(0, len(left), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            i, j = left[part][keep[part]], right[part][keep[part]]
            same = (change[i] * change[j]).sum(1) > _SAME_CHANGE
            same &= (scene[i] * scene[j]).sum(1) > _SAME_SCENE
            weak, strong = np.sort((strength[i], strength[j]), axis=0)
            same &= strong <= _SAME_STRENGTH * weak
            same &= lengths[j] <= _longest(lengths[i])
            for a, b in zip(i[same], j[same], strict=True):
                links.join(int(order[a]), int(order[b]))
    return [group for group in links.members() if len(group) > 1]


class Groups:
    """Numbers that belong together, directly or through others."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def find(self, i: int) -> int:
        """Give the number that stands for the group of ``i``."""
        while self._parents[i] != i:
            self._parents[i] = self._parents[self._parents[i]]
            i = self._parents[i]
        return i

    def join(self, i: int, j: int) -> None:
        """Make two groups one."""
        i, j = sorted((self.find(i), self.find(j)))
        self._parents[j] = i

    def members(self) -> list[list[int]]:
        """List all groups, in the order of their first members."""
        groups: dict[int, list[int]] = {}
        for i in range(len(self._parents)):
            groups.setdefault(self.find(i), []).append(i)
        return list(groups.values())


def _change(flat: np.ndarray) -> np.ndarray:
    """Take away what stays, and how bright each picture is; float32 (V, values)."""
    values = flat.astype(np.float32)
    values -= values.mean(2, keepdims=True)
    values -= values.mean(1, keepdims=True)
    return values.reshape(len(flat), -1)


def _unit(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale rows to length 1; also gives their root mean square."""
    size = np.sqrt((values**2).mean(1))
    length = np.maximum(size, 1e-6) * values.shape[1] ** 0.5
    return values / length[:, None], size


def _longest(seconds: np.ndarray) -> np.ndarray:
    return seconds * (1 + _SAME_LENGTH) + _SECONDS


def _blocks(lengths: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Pair rows with the columns whose lengths may be the same; sorted by length."""
    for begin in range(0, len(lengths), _BLOCK):
        rows = slice(begin, min(begin + _BLOCK, len(lengths)))
        last = np.searchsorted(lengths, _longest(lengths[rows.stop - 1]), 'right')
        for start in range(begin, int(last), _BLOCK):
            yield rows, slice(start, min(start + _BLOCK, int(last)))
