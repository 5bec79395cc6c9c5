"""Text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable


def printable(text: str) -> str:
    r"""Escape what would end a line or control a terminal, such as ``'\x1b'``.

    Names in files of other people may hold that.
    """
    return ''.join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shorten(text: str, length: int) -> str:
    """Cut a text in its middle, to a number of characters."""
    if len(text) <= length:
        return text
    end = (length - 3) // 2
    return f'{text[: length - 3 - end]}...{text[len(text) - end :]}'


def some(names: Iterable[object], count: int = 3) -> str:
    """Name the first few of many, in one line."""
    texts = [printable(str(name)) for name in names]
    return ', '.join(texts[:count]) + ', ...' * (len(texts) > count)
