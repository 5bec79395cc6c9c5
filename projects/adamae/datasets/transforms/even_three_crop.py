"""The three crops of the published test."""

from __future__ import annotations

import numpy as np
from mmaction.datasets.transforms import ThreeCrop
from mmaction.datasets.transforms.processing import _init_lazy_if_proper
from mmaction.registry import TRANSFORMS


@TRANSFORMS.register_module()
class EvenThreeCrop(ThreeCrop):
    """Three crops at equal distances along the long side, to the very end.

    Crop k starts at ``int(k * (long - crop) / 2)``, k = 0, 1, 2. MMAction2's
    ``ThreeCrop``, whose arguments and keys these are, rounds the distance down first:
    if it is odd, its last crop stops a pixel before the end.

    Modified key: imgs, T arrays (H, W, C), which become 3 T, crop after crop. Added
    keys: crop_bbox (3 T, 4), img_shape.

    Source: VideoMAE, arXiv:2203.12602, and its code, which AdaMAE tests with.

    Args:
        crop_size (int | tuple[int, int]): width and height of a crop.
    """

    def transform(self, results: dict) -> dict:
        """Crop; raises ValueError if neither side fits, or one is too small."""
        _init_lazy_if_proper(results, False)  # not of crops yet to be made
        imgs = results['imgs']
        height, width = imgs[0].shape[:2]
        crop_w, crop_h = self.crop_size
        spare_w, spare_h = width - crop_w, height - crop_h
        if min(spare_w, spare_h) != 0:
            raise ValueError(
                f'EvenThreeCrop: expected frames with a short side of {crop_w} x '
                f'{crop_h} (width x height), got {width} x {height}; put '
                f"dict(type='Resize', scale=(-1, {min(crop_w, crop_h)})) before it"
            )
        # One of the two distances is 0.
        corners = [(k * spare_w // 2, k * spare_h // 2) for k in range(3)]
        results['imgs'] = [
            img[y : y + crop_h, x : x + crop_w] for x, y in corners for img in imgs
        ]
        boxes = [(x, y, x + crop_w, y + crop_h) for x, y in corners]
        results['crop_bbox'] = np.repeat(boxes, len(imgs), axis=0)
        results['img_shape'] = (crop_h, crop_w)
        return results
