"""Local files that are either whole or not there."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.fileio.backends import LocalBackend


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a path to write to; what is written there becomes ``path`` when complete.

    If the block fails, or its process is killed, ``path`` stays as it was.

    Args:
        path (str | Path): the file; its folder is created.

    Yields:
        Path: a new name in the same folder, 32 hexadecimal digits and ``.partial``,
        which no other process uses. A killed process leaves it behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'{uuid.uuid4().hex}.partial')
    try:
        yield partial
        with open(partial, 'rb+') as file:
            os.fsync(file.fileno())
        partial.replace(path)
        _synchronize_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def reason_of(error: OSError, path: str | Path) -> str:
    """Say why a folder could not be made, or a file in it not be written.

    Args:
        error (OSError): that was raised.
        path (str | Path): the folder or file.

    Returns:
        str: what is there instead of a folder, or else what the system says.
    """
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        for part in (Path(path), *Path(path).parents):
            if part.is_file():
                found = 'a file, not a folder'
            elif part.is_symlink() and not part.exists():
                found = 'a link to nothing'
            else:
                continue
            return f'{"it" if part == Path(path) else part} is {found}'
    return f'{error.strerror or error}'


def save_atomically(content: Any, path: str | Path) -> None:
    """Write the file of ``torch.save``, whole or not at all.

    Args:
        content (Any): to save.
        path (str | Path): the file; its folder is created.

    Raises:
        OSError: if the disk is full or gone.
    """
    try:
        with atomic_path(path) as partial, open(partial, 'wb') as file:
            torch.save(content, file)
    except RuntimeError as error:
        # torch goes on to write the end of the archive, and stumbles over the gap.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _synchronize_folder(folder: Path) -> None:
    """Have the name of a file, too, on the disk before a power failure."""
    if os.name == 'nt':
        return  # folders cannot be opened there
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that does not do this
            raise
    finally:
        os.close(handle)


class AtomicLocalBackend(LocalBackend):
    """MMEngine's local files, written alongside their target and then renamed.

    MMEngine writes checkpoints straight to their final name, so a run that is killed,
    or a disk that is full, leaves half a file which looks like a checkpoint.
    """

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        """Write a file; arguments as in MMEngine."""
        with atomic_path(filepath) as partial:
            partial.write_bytes(obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write a text file; arguments as in MMEngine."""
        self.put(obj.encode(encoding), filepath)
