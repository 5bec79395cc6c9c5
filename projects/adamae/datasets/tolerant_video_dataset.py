"""MMAction2's annotated videos, damaged ones among them."""

from __future__ import annotations

from mmaction.registry import DATASETS

from .annotation_lines import TabSeparatedVideos
from .names_below_prefix import NamesBelowPrefix
from .unreadable import UnreadableVideos


@DATASETS.register_module()
class TolerantVideoDataset(UnreadableVideos, NamesBelowPrefix, TabSeparatedVideos):
    """``VideoDataset`` that goes on training when a video cannot be read.

    Arguments as in MMAction2's ``VideoDataset``; see :class:`UnreadableVideos`,
    :class:`NamesBelowPrefix` and :class:`TabSeparatedVideos`.
    """
