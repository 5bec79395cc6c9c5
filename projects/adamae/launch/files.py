"""Files that a command line names."""

import os

from ..checkpoints.io import check_loadable


def is_remote(path: str) -> bool:
    """Whether a path is an address, which only MMEngine's file clients can look at."""
    return '://' in path


def require_file(what: str, path: str) -> None:
    """Refuse a path without a file; an address passes.

    Args:
        what (str): the file's part in the run, for the message.
        path (str): where it should be; ``~`` is the home folder.

    Raises:
        FileNotFoundError: if there is none.
    """
    if not is_remote(path) and not os.path.isfile(os.path.expanduser(path)):
        raise FileNotFoundError(f'{what} not found: {path}')


def require_checkpoint(path: str) -> None:
    """Refuse a path without a checkpoint that can be loaded; an address passes.

    Args:
        path (str): where it should be.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be loaded.
    """
    require_file('checkpoint', path)
    if not is_remote(path):
        check_loadable(os.path.expanduser(path))
