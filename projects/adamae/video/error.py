"""Which errors are a video's own fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import av

# What PyAV raises for damaged files: FFmpeg's errors and those of its Python parts.
PYAV_ERRORS = av.FFmpegError, ArithmeticError, LookupError, ValueError


class VideoError(RuntimeError):
    """A video is missing, must not be read, or is damaged; the text names it.

    Args:
        text (str): what was expected and found.
        kind (str): what is wrong, in a word or two: 'unreadable', 'truncated',
            'damaged', 'changing size', 'picture' or 'too slow'. Defaults to
            'unreadable', also of one that a worker of a dataloader has sent.
    """

    def __init__(self, text: str = '', kind: str = 'unreadable') -> None:
        super().__init__(text)
        self.kind = kind

    def __str__(self) -> str:
        # A worker of a dataloader sends its traceback, which ends in this error.
        return super().__str__().rpartition('VideoError: ')[2].strip()


@contextmanager
def video_errors(name: str, *decoder_errors: type[Exception]) -> Iterator[None]:
    """Turn the errors of one video into :class:`VideoError`.

    What is not the video's fault passes as it is: other errors of the operating system
    (too many open files, a lost mount) and bugs. Put it around calls of a library only.

    Args:
        name (str): what to call the video.
        *decoder_errors (type[Exception]): what the library raises for damaged files.

    Raises:
        VideoError: for those, and for a file that does not exist or must not be read.
    """
    errors: tuple[type[Exception], ...] = (
        FileNotFoundError,
        IsADirectoryError,
        NotADirectoryError,
        PermissionError,
        *decoder_errors,
    )
    try:
        yield
    except errors as error:
        text = getattr(error, 'strerror', None) or one_line(error)
        raise VideoError(f'{name}: expected a readable video, got: {text}') from error


def one_line(error: Exception) -> str:
    """Give the text of a library's error, or else its kind, in one short line."""
    # Of a file that is no video, decoders quote the beginning.
    text = ''.join(c if c.isprintable() else ' ' for c in str(error))
    return ' '.join(text.split())[:200] or type(error).__name__
