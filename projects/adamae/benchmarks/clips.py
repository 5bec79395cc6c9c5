"""How many clips a training set makes of a video."""

from __future__ import annotations

from math import prod
from typing import Any


def innermost(dataset: Any) -> Any:
    """Find the data set with a pipeline under wrappers; of joined ones, the first.

    Args:
        dataset (dict): config of a data set.

    Returns:
        dict: the part of it that has a ``pipeline``.

    Raises:
        ValueError: if there is none.
    """
    while 'pipeline' not in dataset:
        inner = dataset.get('dataset') or next(iter(dataset.get('datasets', [])), None)
        if inner is None:
            raise ValueError(
                f'{dataset.get("type")}: expected a data set with a pipeline, got none'
            )
        dataset = inner
    return dataset


def clips_per_video(dataset: Any) -> int:
    """Count the clips that one video of a batch becomes.

    Args:
        dataset (dict): config of a data set.

    Returns:
        int: repeats of the data set (``num_repeats``) times clips of the sampling
        transform (``num_clips``) times repeats of ``PerClip``.

    Raises:
        ValueError: if there is no pipeline.
    """
    dataset = innermost(dataset)
    return dataset.get('num_repeats', 1) * prod(
        transform.get('num_clips', 1)
        * (transform.get('repeats', 1) if transform['type'] == 'PerClip' else 1)
        for transform in dataset['pipeline']
    )
