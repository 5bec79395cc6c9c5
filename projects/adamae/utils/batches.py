"""Batches of a training set."""

from __future__ import annotations

# Fewer steps make the units of a schedule coarse; more videos left out are a loss.
FEW_STEPS = 10
LARGE_SHARE = 0.1


def largest_batch_size(videos: int, most: int, processes: int = 1) -> int:
    """Find the largest batch with enough steps an epoch and few videos left out.

    Args:
        videos (int): of the training set.
        most (int): what the batch may be, in videos of a process.
        processes (int): that share an epoch. Defaults to 1.

    Returns:
        int: videos of a process in a step that give at least ``FEW_STEPS`` and leave
        out at most ``LARGE_SHARE`` of an epoch; 1 if there is no such number.
    """
    for size in range(most, 1, -1):
        steps = videos // (size * processes)
        left = videos - steps * size * processes
        if steps >= FEW_STEPS and left <= LARGE_SHARE * videos:
            return size
    return 1
