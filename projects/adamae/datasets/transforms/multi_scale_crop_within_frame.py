"""A multi-scale crop for frames that are a little too small."""

from __future__ import annotations

from copy import copy

from mmaction.datasets.transforms import MultiScaleCrop
from mmaction.datasets.transforms.processing import _init_lazy_if_proper
from mmaction.registry import TRANSFORMS


@TRANSFORMS.register_module()
class MultiScaleCropWithinFrame(MultiScaleCrop):
    """MMAction2's ``MultiScaleCrop`` that is never larger than the frame.

    ``MultiScaleCrop`` makes crops of almost ``input_size``, one or two pixels less,
    that large. Where the frame is no larger itself, as with a short side of 222 or 223
    and an ``input_size`` of 224, it cuts a strip of one or two rows or columns.

    Arguments and keys are those of ``MultiScaleCrop``.
    """

    def transform(self, results: dict) -> dict:
        """Crop, at most to the short side of the frame."""
        _init_lazy_if_proper(results, self.lazy)  # adds img_shape if there is none
        short_side = min(results['img_shape'])
        if short_side >= max(self.input_size):
            return super().transform(results)
        smaller = copy(self)
        smaller.input_size = tuple(min(s, short_side) for s in self.input_size)
        return super(MultiScaleCropWithinFrame, smaller).transform(results)
