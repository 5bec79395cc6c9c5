"""Several clips of each video that is opened, damaged videos among them."""

from __future__ import annotations

from typing import Any

from mmaction.datasets import RepeatAugDataset, VideoDataset
from mmaction.registry import DATASETS

from .annotation_lines import TabSeparatedVideos
from .names_below_prefix import NamesBelowPrefix
from .unreadable import UnreadableVideos


class _RepeatAugDataset(RepeatAugDataset):
    """``RepeatAugDataset`` for any loader; MMAction2's insists on decord."""

    def __init__(
        self,
        ann_file: str,
        pipeline: list,
        num_repeats: int = 4,
        sample_once: bool = False,
        **kwargs: Any,
    ) -> None:
        steps = [step['type'] for step in pipeline[:3]]
        if not (
            len(steps) == 3
            and steps[0].endswith('Init')
            and 'Sample' in steps[1]
            and steps[2].endswith('Decode')
        ):
            raise ValueError(
                'TolerantRepeatAugDataset: expected a pipeline that begins with '
                "'PyAVSkipInit', one that samples frames and 'PyAVSkipDecode', got "
                f'{", ".join(map(repr, steps))}'
            )
        VideoDataset.__init__(self, ann_file, pipeline, test_mode=False, **kwargs)
        self.num_repeats = num_repeats
        self.sample_once = sample_once


@DATASETS.register_module()
class TolerantRepeatAugDataset(
    UnreadableVideos, NamesBelowPrefix, TabSeparatedVideos, _RepeatAugDataset
):
    """``RepeatAugDataset`` that goes on training when a video cannot be read.

    Repeated sampling: a video is opened and decoded once; ``num_repeats`` clips are
    drawn from it, each with its own start, crop and flip. Needs the ``collate_fn``
    ``repeat_pseudo_collate``. Arguments as in MMAction2's ``RepeatAugDataset``, which
    takes decord only; see :class:`UnreadableVideos`, :class:`NamesBelowPrefix` and
    :class:`TabSeparatedVideos`.

    Raises:
        ValueError: if the pipeline does not begin with the transforms that open a
            video, sample its frames, and decode them.
    """
