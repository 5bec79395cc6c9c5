"""Videos as folders of frames, damaged ones among them."""

from __future__ import annotations

from mmaction.datasets import RawframeDataset
from mmaction.registry import DATASETS

from .names_below_prefix import NamesBelowPrefix
from .unreadable import UnreadableVideos


@DATASETS.register_module()
class TolerantRawframeDataset(UnreadableVideos, NamesBelowPrefix, RawframeDataset):
    """``RawframeDataset`` that goes on training when a frame cannot be read.

    Arguments as in MMAction2's ``RawframeDataset``; see :class:`UnreadableVideos` and
    :class:`NamesBelowPrefix`.
    """
