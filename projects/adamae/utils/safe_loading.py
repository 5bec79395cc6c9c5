"""Files of ``torch.save``, read without running what is in them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .checksums import verify_checksums


class CheckpointMismatch(ValueError):
    """A checkpoint cannot be read, or does not hold the weights of the model."""


def load_torch_file(
    path: str | Path,
    map_location: Any = 'cpu',
    mmap: bool = False,
    allowed: Sequence[type] = (),
) -> Any:
    """Load a file of ``torch.save`` with torch's safe loader.

    Args:
        path (str | Path): the file.
        map_location (Any): as in ``torch.load``. Defaults to the CPU.
        mmap (bool): leave tensors on the disk until they are used; then the checksums
            of the file are not compared. Defaults to False.
        allowed (Sequence[type]): classes it may hold beside tensors, plain values and
            those of ``torch.serialization.add_safe_globals``. Defaults to none.

    Returns:
        Any: its content.

    Raises:
        CheckpointMismatch: if the file is damaged, no such file, or asks for other
            code; names it.
    """
    try:
        with torch.serialization.safe_globals([*allowed]):
            content = torch.load(
                path, map_location=map_location, weights_only=True, mmap=mmap
            )
    except torch.OutOfMemoryError:  # nothing is wrong with the file
        raise
    # What a damaged file makes the loader stumble over has no end: struct.error,
    # IndexError, OSError, ...
    except Exception as error:
        raise loading_error(path, error) from None
    if not mmap:
        try:
            verify_checksums(path)
        except ValueError as error:
            raise CheckpointMismatch(str(error)) from None
    return content


def loading_error(source: str | Path, error: Exception) -> CheckpointMismatch:
    """Say in one line why a checkpoint cannot be loaded.

    The text of the loader's error is not passed on: it may advise to run the code.

    Args:
        source (str | Path): file or URL.
        error (Exception): of torch's safe loader.
    """
    unsafe = re.search(r'(?:GLOBAL|class|function|global)\W+([\w.]+\.\w+)', str(error))
    if isinstance(error, pickle.UnpicklingError) and unsafe:
        return CheckpointMismatch(
            f'{source}: rejected, it asks to run {unsafe[1]}; a checkpoint may hold '
            'tensors and plain values only'
        )
    reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
    return CheckpointMismatch(
        f'{source}: damaged, a part of a file, or not one of torch.save ({reason}); '
        'name another, or copy it again'
    )
