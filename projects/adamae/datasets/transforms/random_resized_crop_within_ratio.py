"""A random crop that stays within its ratios, also where none was found."""

from __future__ import annotations

from typing import Any

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

    Raises:
        ValueError: if ``area_range`` is not rising within (0, 1], or
            ``aspect_ratio_range`` not rising from above 0.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, largest in ('area_range', 1), ('aspect_ratio_range', float('inf')):
            low, high = getattr(self, name)
            if not 0 < low <= high <= largest:
                raise ValueError(
                    f'{type(self).__name__}: expected {name}=(low, high) with '
                    f'0 < low <= high <= {largest}, got ({low}, {high})'
                )

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
