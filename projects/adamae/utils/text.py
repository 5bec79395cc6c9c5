"""Text for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Escape what would end a line or control a terminal, such as ``'\x1b'``.

    Names in files of other people may hold that.
    """
    return ''.join(c if c.isprintable() else repr(c)[1:-1] for c in text)
