"""Open a video for the loader that leaves out what nobody needs."""

from __future__ import annotations

import io
from typing import Any

from mmaction.registry import TRANSFORMS
from mmcv.transforms import BaseTransform
from mmengine.fileio import get

from ...video.reader import VideoReader


@TRANSFORMS.register_module()
class PyAVSkipInit(BaseTransform):
    """Open a video with :class:`VideoReader`; goes with :class:`PyAVSkipDecode`.

    Stands where ``DecordInit`` stands, with its arguments and keys.

    Required key: filename. Added keys: video_reader, total_frames, avg_fps (frames a
    second, 0 if the file does not say).

    Args:
        io_backend (str): where files lie. Defaults to 'disk': FFmpeg reads them
            itself. Anything else is a backend of MMEngine's, which reads them whole.
        **kwargs: arguments of the backend.
    """

    def __init__(self, io_backend: str = 'disk', **kwargs: Any) -> None:
        self.io_backend = io_backend
        self.kwargs = kwargs

    def transform(self, results: dict) -> dict:
        """Open the video.

        Args:
            results (dict): of a data set.

        Returns:
            dict: the same, with the reader.

        Raises:
            OSError: if the file cannot be read; names it.
        """
        filename = results['filename']
        if self.io_backend == 'disk':
            reader = VideoReader(filename)
        else:
            content = get(filename, dict(backend=self.io_backend, **self.kwargs))
            reader = VideoReader(io.BytesIO(content), filename)
        results['video_reader'] = reader
        results['total_frames'] = len(reader)
        results['avg_fps'] = reader.fps
        return results

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(io_backend={self.io_backend!r})'
