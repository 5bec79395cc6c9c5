"""Text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


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


def not_utf8(where: object, error: UnicodeDecodeError, advice: str = '') -> ValueError:
    """Make the error for a file that is no text in UTF-8.

    Args:
        where (object): what to call it: a path, with a key of the config or not.
        error (UnicodeDecodeError): from decoding all of it.
        advice (str): how to convert it. Defaults to none.

    Returns:
        ValueError: which names the line, from 1, and the byte.
    """
    line = error.object.count(b'\n', 0, error.start) + 1
    return ValueError(
        f'{where}: line {line}: expected text in UTF-8, got the byte '
        f'{error.object[error.start]:#x}{advice and f"; {advice}"}'
    )


def read_utf8(path: str | Path) -> str:
    """Read a text file that people have written, with a byte-order mark or without.

    Raises:
        ValueError: if it is no text in UTF-8.
        OSError: if it cannot be read.
    """
    content = Path(path).read_bytes()
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        advice = f'convert it: iconv -f WINDOWS-1252 -t UTF-8 {path} > NEW'
        raise not_utf8(path, error, advice) from None
