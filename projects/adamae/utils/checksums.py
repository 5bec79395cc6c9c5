"""Bit rot: the checksums that ``torch.save`` writes and ``torch.load`` ignores."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from zipfile import ZipFile

# torch takes a record with this attribute for a folder, and leaves its tensor as the
# memory happens to be.
_DOS_FOLDER = 0x10


def is_archive(path: str | Path) -> bool:
    """Whether a file begins like an archive, which is what torch goes by.

    ``zipfile.is_zipfile`` looks at its end, and stumbles over a damaged one.
    """
    with open(path, 'rb') as file:
        return file.read(4) == b'PK\x03\x04'


def verify_checksums(path: str | Path) -> None:
    """Compare a file of ``torch.save`` with the CRC-32 of each of its records.

    It reads the whole file, half a second per GB, once in a process. Older files of
    torch, which are no archives, have no sums and pass.

    Raises:
        ValueError: if one differs, or the archive cannot be read.
    """
    state = os.stat(path)
    _verify(str(path), state.st_size, state.st_mtime_ns, state.st_ino)


@cache  # of what passed; an error is raised again
def _verify(path: str, *_: int) -> None:
    if not is_archive(path):
        return
    try:
        with ZipFile(path) as archive:
            damaged = archive.testzip()
            for record in archive.infolist():
                if record.external_attr & _DOS_FOLDER:
                    damaged = record.filename
    # Flipped bits of a header make it an archive with a password, compressed, ...
    except Exception as error:
        damaged = type(error).__name__
    if damaged is not None:
        raise ValueError(
            f'{path}: damaged, its content differs from the checksums in it '
            f'({damaged}); name another, or copy it again'
        )
