"""Which errors of the steps that load a video are the video's own fault."""

from __future__ import annotations

import errno
import os
from typing import Any

import cv2
import numpy as np
from mmaction.datasets.transforms import (
    DecordInit,
    OpenCVDecode,
    OpenCVInit,
    PyAVDecode,
    PyAVInit,
    RawFrameDecode,
)

from ..video.error import PYAV_ERRORS, VideoError, video_errors
from ..video.reader import require_regular_file
from .checked_decord import CheckedDecord, DecordTimeoutError, check_decord
from .transforms.pyav_skip_decode import PyAVSkipDecode
from .transforms.pyav_skip_init import PyAVSkipInit

# What the system says of a name, not of its state: no other file has this fault.
_ERRORS_OF_NAMES = errno.ENAMETOOLONG, errno.ELOOP

_LOCAL = 'disk', 'local'


class UnopenableVideoError(VideoError):
    """A video that cannot be read whatever frames of it are asked for."""


class UnreachableVideoError(VideoError):
    """A video was not read for reasons that are not its own: it ends a run."""


class _FrameError(Exception):
    """A frame is missing or no picture."""


class LoadingStep:
    """A transform that opens a video or decodes frames, with errors that tell causes.

    Args:
        transform (BaseTransform): one of those of :func:`guard_loading`.
    """

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __repr__(self) -> str:
        return repr(self.transform)

    def __call__(self, results: dict) -> Any:
        """Load.

        Raises:
            UnopenableVideoError: if the video is missing, must not be read, or is
                damaged, whatever frames are wanted.
            VideoError: if that is known of the wanted frames only.
            UnreachableVideoError: if the system cannot read (too many open files, a
                lost mount, a failing disk).
        """
        name = results.get('filename') or results['frame_dir']
        try:
            if isinstance(self.transform, RawFrameDecode):
                return self._load_frames(results, name)
            if isinstance(self.transform, (PyAVInit, OpenCVInit)):
                return self._open(results, name)
            if isinstance(self.transform, (PyAVDecode, OpenCVDecode)):
                with video_errors(name, *PYAV_ERRORS, cv2.error):
                    return self.transform(results)
            return self.transform(results)
        except DecordTimeoutError as error:
            raise UnopenableVideoError(str(error)) from error
        except VideoError as error:
            if _opens(self.transform):
                raise UnopenableVideoError(str(error)) from error.__cause__
            raise
        except (OSError, MemoryError) as error:
            number = getattr(error, 'errno', None)
            text = getattr(error, 'strerror', None) or str(error) or 'out of memory'
            if number in _ERRORS_OF_NAMES:
                text = f'{name}: expected a readable video, got: {text}'
                raise UnopenableVideoError(text) from error
            raise UnreachableVideoError(
                f'{name}: cannot be read now, which is not the fault of the file: '
                f'{text}; {_remedy(number)}'
            ) from error

    def _open(self, results: dict, name: str) -> dict:
        """Open by MMAction2's readers, which take anything for a file."""
        with video_errors(name, *PYAV_ERRORS, cv2.error):
            if self.transform.io_backend in _LOCAL:
                require_regular_file(name)
            results = self.transform(results)
            if results['total_frames'] < 1 and isinstance(self.transform, OpenCVInit):
                raise ValueError('no frame can be decoded')
        return results

    def _load_frames(self, results: dict, name: str) -> dict:
        """Read frames by MMAction2's reader, with errors that name the frame."""
        with video_errors(name, _FrameError):
            try:
                if self.transform.io_backend in _LOCAL:
                    _require_regular_frames(results)
                return self.transform(results)
            except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
                raise _FrameError(f'{error.filename}: {error.strerror}') from error
            except cv2.error as error:
                raise _FrameError(_first_damaged(results)) from error


def guard_loading(transforms: list[Any]) -> list[Any]:
    """Put :class:`LoadingStep` around the loading transforms of a pipeline.

    They are ours (``PyAVSkip...``) and MMAction2's for decord, which are also checked
    (:class:`.CheckedDecord`), PyAV, OpenCV and frames.
    """
    kinds = (
        *(CheckedDecord, PyAVSkipInit, PyAVSkipDecode, PyAVInit, PyAVDecode),
        *(OpenCVInit, OpenCVDecode, RawFrameDecode),
    )
    return [
        LoadingStep(t) if isinstance(t, kinds) else t for t in check_decord(transforms)
    ]


def _opens(transform: Any) -> bool:
    """Whether a step opens a file; which frames are wanted is drawn after it."""
    inner = transform.transform if isinstance(transform, CheckedDecord) else transform
    return isinstance(inner, (DecordInit, OpenCVInit, PyAVInit, PyAVSkipInit))


def _remedy(number: int | None) -> str:
    if number in (errno.EMFILE, errno.ENFILE):
        what = 'raise the limit of open files (ulimit -n) or lower num_workers'
    elif number in (None, errno.ENOMEM):
        what = 'give the run more memory, or lower num_workers or batch_size'
    else:
        what = 'see whether its disk or mount is in order'
    return f'{what}, then resume'


def _frames(results: dict) -> list[tuple[str, str]]:
    """Give name and path of each picture that is wanted; two per frame of flow."""
    axes: list[tuple] = [()] if results['modality'] == 'RGB' else [('x',), ('y',)]
    numbers = np.unique(results['frame_inds']) + results.get('offset', 0)
    names = [results['filename_tmpl'].format(*a, n) for n in numbers for a in axes]
    return [(name, os.path.join(results['frame_dir'], name)) for name in names]


def _require_regular_frames(results: dict) -> None:
    for name, path in _frames(results):
        try:
            require_regular_file(path)
        except ValueError as error:
            raise _FrameError(f'{name}: {error}') from error


def _first_damaged(results: dict) -> str:
    """Name the frame that OpenCV could not decode."""
    for name, path in _frames(results):
        if os.path.isfile(path) and cv2.imread(path) is None:
            return f'{name}: no picture'
    return 'a frame that is no picture'
