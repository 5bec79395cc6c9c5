"""A random crop that stays within its ratios, also where none was found."""

from __future__ import annotations

import torch
from mmaction.datasets.transforms import RandomResizedCrop
from mmaction.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomResizedCropWithinRatio(RandomResizedCrop):
    """MMAction2's ``RandomResizedCrop`` that falls back to the largest central crop.

    If none of ten draws fits into the frame, it takes what is largest within
    ``aspect_ratio_range`` (341 x 256 of 455 x 256), as torchvision does, whose
    draws these are. MMAction2 takes the central square then: that is one in six clips
    of 16:9 with areas from 0.5 on.

    Arguments and keys are those of ``RandomResizedCrop``.

    Source: SpatiotemporalMAE, arXiv:2205.09113, and VideoMAE, arXiv:2203.12602, and
    their code.
    """

    @staticmethod
    def get_crop_bbox(
        img_shape: tuple[int, int],
        area_range: tuple[float, float],
        aspect_ratio_range: tuple[float, float],
    ) -> tuple[int, int, int, int]:
        """Draw left, top, right and bottom of a crop in (height, width)."""
        from torchvision import transforms  # half a second

        top, left, height, width = transforms.RandomResizedCrop.get_params(
            torch.empty(img_shape, device='meta'),
            list(area_range),
            list(aspect_ratio_range),
        )
        return left, top, left + width, top + height
