"""Text in pictures."""

from __future__ import annotations

from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font
from PIL import ImageFont

from .text import printable


def drawable(text: str, weight: str = 'normal') -> str:
    """Replace what the font does not have, such as Chinese characters, by a box.

    Args:
        text (str): control characters in it are escaped.
        weight (str): of matplotlib's default font. Defaults to ``'normal'``.
    """
    characters = get_font(_file(weight)).get_charmap()
    return ''.join(c if ord(c) in characters else '\u25a1' for c in printable(text))


@cache
def default_font(size: int, weight: str = 'normal') -> ImageFont.FreeTypeFont:
    """Load matplotlib's default font for Pillow.

    Args:
        size (int): of letters, in pixels.
        weight (str): Defaults to ``'normal'``.
    """
    return ImageFont.truetype(_file(weight), size)


def _file(weight: str) -> str:
    return findfont(FontProperties(weight=weight))
