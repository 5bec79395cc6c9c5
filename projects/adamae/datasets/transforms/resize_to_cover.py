"""Resizing before a crop that is no square."""

from __future__ import annotations

from typing import Any

from mmaction.datasets.transforms import Resize
from mmaction.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ResizeToCover(Resize):
    """Resize frames to the smallest that cover a rectangle, at their aspect ratio.

    For a square this is ``Resize(scale=(-1, side))``. Any crop of that size fits then,
    and one of its sides is that of the frames, as ``ThreeCrop`` wants it.

    Keys are those of MMAction2's ``Resize``.

    Args:
        scale (tuple[int, int]): width and height to cover.
        interpolation (str): as in ``Resize``. Defaults to ``'bilinear'``.
    """

    def __init__(self, scale: tuple[int, int], interpolation: str = 'bilinear') -> None:
        super().__init__(tuple(scale), keep_ratio=False, interpolation=interpolation)
        self.cover = tuple(scale)

    def transform(self, results: dict) -> dict:
        """Resize."""
        height, width = results['img_shape']
        factor = max(self.cover[0] / width, self.cover[1] / height)
        # The side that decides is exact; the other is rounded, but not below its own.
        self.scale: Any = tuple(
            max(side, int(length * factor + 0.5))
            for side, length in zip(self.cover, (width, height), strict=True)
        )
        return super().transform(results)
