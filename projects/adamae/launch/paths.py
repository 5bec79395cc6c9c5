"""Paths that a command line or a config names."""

import os

from ..checkpoints.files import check_loadable


def is_remote(path: str) -> bool:
    """Whether a path is a URL, which only MMEngine's file backends can look at."""
    return '://' in path


def require_file(what: str, path: str) -> None:
    """Reject a path without a file; a URL passes.

    Args:
        what (str): the file's part in the run, for the message.
        path (str): where it should be; ``~`` is the home folder.

    Raises:
        FileNotFoundError: if there is none.
    """
    if not is_remote(path) and not os.path.isfile(os.path.expanduser(path)):
        raise FileNotFoundError(f'{what} not found: {path}')


def require_checkpoint(path: str) -> None:
    """Reject a path without a checkpoint that can be loaded; a URL passes.

    Args:
        path (str): where it should be.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be loaded.
    """
    require_file('checkpoint', path)
    if not is_remote(path):
        check_loadable(os.path.expanduser(path))
