"""Open a video for the loader that skips frames nobody needs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine.fileio import get

from ...video.error import video_errors
from ...video.reader import VideoReader, require_regular_file


@TRANSFORMS.register_module()
class PyAVSkipInit(BaseTransform):
    """Open a video with :class:`VideoReader`; goes with :class:`PyAVSkipDecode`.

    Stands where ``DecordInit`` stands, with its arguments and keys.

    Required key: filename, without suffix that of an ``.mp4`` file. Added keys:
    video_reader, total_frames, avg_fps (frames per second, 0 if the file does not say).

    Args:
        io_backend (str): MMEngine's file backend. Defaults to 'disk'.
        num_threads (int): as in ``DecordInit``, but 1 only.
        time_limit (float): seconds of processor time for opening, and for decoding, one
            video; more is a VideoError. Defaults to 60.
        **kwargs: arguments of the backend.
    """

    def __init__(
        self,
        io_backend: str = 'disk',
        num_threads: int = 1,
        time_limit: float = 60,
        **kwargs: Any,
    ) -> None:
        if num_threads != 1:
            raise ValueError(
                f'{type(self).__name__}: expected num_threads=1, got {num_threads}; it '
                "decodes on one thread, use more of the dataloader's num_workers"
            )
        self.io_backend = io_backend
        self.time_limit = time_limit
        self.kwargs = kwargs

    def transform(self, results: dict) -> dict:
        """Open the video; raises VideoError if it is missing or damaged."""
        reader = self.open(results['filename'])
        results['video_reader'] = reader
        results['total_frames'] = len(reader)
        results['avg_fps'] = reader.fps
        return results

    def open(self, filename: str) -> VideoReader:
        """Open a video by its name; raises VideoError if it is missing or damaged."""
        if not Path(filename).suffix:
            filename += '.mp4'
        # The backend that MMAction2 calls 'disk' is MMEngine's 'local'.
        backend = 'local' if self.io_backend == 'disk' else self.io_backend
        if backend == 'local':
            with video_errors(filename, ValueError):
                require_regular_file(filename)
        with video_errors(filename):
            content = get(filename, dict(backend=backend, **self.kwargs))
        return VideoReader(io.BytesIO(content), filename, self.time_limit)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(io_backend={self.io_backend}, num_threads=1)'
