"""Sizes of frames."""

from __future__ import annotations

from collections.abc import Sequence


def height_and_width(img_size: int | Sequence[int]) -> tuple[int, int]:
    """Read an ``img_size``: one number for square frames, or height and width.

    Raises:
        ValueError: if it is neither.
    """
    sides = [img_size] * 2 if isinstance(img_size, int) else img_size
    try:
        height, width = sides
        if type(height) is type(width) is int and min(height, width) > 0:
            return height, width
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f'img_size: expected one number of pixels, or (height, width), got {img_size!r}'
    )
