"""From RGB to BGR, and back."""

from __future__ import annotations

import mmcv
from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform


@TRANSFORMS.register_module()
class SwapRedBlue(BaseTransform):
    """Swap the red and the blue channel of an image.

    MMAction2 decodes to RGB, and MMPretrain's color and contrast weigh the channels of
    BGR: put this before and after them.

    Modified key: img, uint8 or float, (H, W, 3).
    """

    def transform(self, results: dict) -> dict:
        """Swap, into a new array."""
        results['img'] = mmcv.rgb2bgr(results['img'])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
