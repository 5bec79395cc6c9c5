"""Several clips of each video that is opened, damaged videos among them."""

from __future__ import annotations

from mmaction.datasets import RepeatAugDataset
from mmaction.registry import DATASETS

from .unreadable import UnreadableVideos


@DATASETS.register_module()
class TolerantRepeatAugDataset(UnreadableVideos, RepeatAugDataset):
    """``RepeatAugDataset`` that goes on training when a video cannot be read.

    Repeated sampling: a video is opened and decoded once; ``num_repeats`` clips are
    drawn from it, each with its own start, crop and flip. Needs the ``collate_fn``
    ``repeat_pseudo_collate``. Arguments as in MMAction2's ``RepeatAugDataset``; see
    :class:`UnreadableVideos`.
    """
