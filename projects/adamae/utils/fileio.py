"""Local files that are either whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.fileio.backends import LocalBackend, register_backend


class AtomicLocalBackend(LocalBackend):
    """MMEngine's local files, written next to their place and then renamed.

    MMEngine writes checkpoints straight to their final name, so a run that is killed,
    or a disk that is full, leaves half a file which looks like a checkpoint.
    """

    def put(self, obj: bytes | memoryview, filepath: str | Path) -> None:
        """Write a file.

        Args:
            obj (bytes): its content.
            filepath (str | Path): its place; the folder is made if need be.
        """
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f'.{path.name}.{os.getpid()}.part')
        try:
            with open(part, 'wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write a text file; arguments as in :meth:`put`."""
        self.put(obj.encode(encoding), filepath)


register_backend('local', AtomicLocalBackend, prefixes='', force=True)
