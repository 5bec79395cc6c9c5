"""Text in pictures."""

from __future__ import annotations

from matplotlib.font_manager import FontProperties, findfont, get_font

from .text import printable


def drawable(text: str, weight: str = 'normal') -> str:
    """Replace what the font does not have, such as Chinese characters, by a box.

    Args:
        text (str): control characters in it are escaped.
        weight (str): of matplotlib's default font. Defaults to ``'normal'``.
    """
    characters = get_font(findfont(FontProperties(weight=weight))).get_charmap()
    return ''.join(c if ord(c) in characters else '\u25a1' for c in printable(text))
