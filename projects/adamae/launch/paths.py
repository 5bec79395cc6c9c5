"""Paths that a command line or a config names."""

import os

from ..checkpoints.io import check_loadable


def is_remote(path: str) -> bool:
    """Whether a path is a URL, which only MMEngine's file backends can look at."""
    return '://' in path


def require_file(what: str, path: str) -> None:
    """Raise ``FileNotFoundError`` if there is no file; a URL passes.

    Args:
        what (str): what the file is, for the message.
        path (str): ``~`` is the home folder.
    """
    if not is_remote(path) and not os.path.isfile(os.path.expanduser(path)):
        raise FileNotFoundError(f'{what} not found: {path}')


def require_checkpoint(path: str) -> None:
    """Check that a checkpoint exists and that MMEngine can load it; a URL passes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be loaded.
    """
    require_file('checkpoint', path)
    if not is_remote(path):
        check_loadable(os.path.expanduser(path))
