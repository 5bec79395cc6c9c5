"""MMAction2's decord loader, for the files whose frames decord numbers rightly."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

from decord import DECORDError, DECORDLimitReachedError
from mmaction.datasets.transforms import DecordDecode, DecordInit

from projects.adamae_command import docs_page, tool_name

from ..video.error import VideoError, video_errors
from .transforms.pyav_skip_init import PyAVSkipInit

# The last two: of a file it cannot open, or that has no frame.
_DECORD_ERRORS = DECORDError, DECORDLimitReachedError, RuntimeError, AssertionError

# In seconds, of one call.
_TIME_LIMIT = 60

# Verdicts on as many files are kept: some 10 MB per process.
_MAX_VERDICTS = 2**16

_REMEDY = (
    f'load it with PyAVSkipInit and PyAVSkipDecode ({docs_page("data")}), or rewrite '
    f'it with {tool_name("data/transcode.py")}'
)


class DecordTimeoutError(VideoError):
    """decord has not answered; a thread of it is busy with the file for ever."""


class CheckedDecord:
    """``DecordInit`` or ``DecordDecode`` that gives no other frame than asked for.

    decord 0.6.0 seeks to what the container calls a key frame and counts packets from
    there. Where packets are hidden by an edit list, where pictures before a key frame
    need it (open groups of pictures, HEVC), and where the container does not store
    presentation times (AVI, transport streams), it gives other frames, or never
    returns. Files are therefore looked through by PyAV before decord opens them, once
    per process unless they change. Those that decord cannot open are not given to it
    again: it keeps the whole content of each in memory.

    Args:
        transform (DecordInit | DecordDecode): what to call.
    """

    def __init__(self, transform: DecordInit | DecordDecode) -> None:
        self.transform = transform
        # Number of frames, or an error, by name and state of the file.
        self._verdicts: dict[int, int | str] = {}

    def __call__(self, results: dict) -> Any:
        """Open or decode.

        Raises:
            VideoError: if decord would not, or does not, give the frames of the file;
                names the file, its codec and container, and what to do.
        """
        name = results['filename']
        if not isinstance(self.transform, DecordInit):
            with video_errors(name, *_DECORD_ERRORS):
                return _limited(lambda: self.transform(results), name)
        key = _identity(name)
        verdict = self._verdicts.get(key)
        if isinstance(verdict, str):
            raise VideoError(verdict)
        try:
            count, coding = (verdict, '') if verdict else self._look_through(name)
            with video_errors(name, *_DECORD_ERRORS):
                results = _limited(lambda: self.transform(results), name)
            if results['total_frames'] != count:
                raise VideoError(
                    f'{name}: expected the {count} frames of {coding or "the file"}, '
                    f'decord counts {results["total_frames"]}; {_REMEDY}'
                )
        except VideoError as error:
            self._remember(key, str(error))
            raise
        self._remember(key, count)
        return results

    def _look_through(self, name: str) -> tuple[int, str]:
        """Give number of frames and coding of a file that decord reads rightly."""
        ours = PyAVSkipInit(self.transform.io_backend, **self.transform.kwargs)
        reader = ours.open(name)
        if reader.irregularity:
            raise VideoError(
                f'{name}: expected a file whose frames decord finds, got '
                f'{reader.coding} ({reader.irregularity}); {_REMEDY}'
            )
        return len(reader), reader.coding

    def _remember(self, key: int, verdict: int | str) -> None:
        if len(self._verdicts) >= _MAX_VERDICTS:
            self._verdicts.clear()
        if key:
            self._verdicts[key] = verdict

    def __repr__(self) -> str:
        return repr(self.transform)


def check_decord(transforms: list[Any]) -> list[Any]:
    """Put :class:`CheckedDecord` around the decord transforms of a pipeline."""
    return [
        CheckedDecord(t) if isinstance(t, (DecordInit, DecordDecode)) else t
        for t in transforms
    ]


def _identity(name: str) -> int:
    """Tell a file in its present state from all others; 0 if it is not on this disk."""
    try:
        stat = os.stat(name if Path(name).suffix else f'{name}.mp4')
    except (OSError, ValueError):
        return 0
    return hash((name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))


def _limited(call: Callable[[], Any], name: str) -> Any:
    """Call, and give up waiting after a while; the thread goes on if decord hangs."""
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome['result'] = call()
        except Exception as error:  # raised again below
            outcome['error'] = error

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(_TIME_LIMIT)
    if thread.is_alive():
        raise DecordTimeoutError(
            f'{name}: expected frames within {_TIME_LIMIT} s, decord gave none; '
            f'{_REMEDY}'
        )
    if 'error' in outcome:
        raise outcome['error']
    return outcome['result']
