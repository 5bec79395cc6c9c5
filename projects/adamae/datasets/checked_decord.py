"""MMAction2's decord loader, for the files whose frames decord numbers rightly."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

from decord import DECORDError, DECORDLimitReachedError
from mmaction.datasets.transforms import DecordDecode, DecordInit

from ..video.error import VideoError, video_errors
from .transforms.pyav_skip_init import PyAVSkipInit

# The last two: of a file it cannot open, or that has no frame.
_DECORD_ERRORS = DECORDError, DECORDLimitReachedError, RuntimeError, AssertionError

# In seconds, of one call.
_TIME_LIMIT = 60

_REMEDY = (
    'load it with PyAVSkipInit and PyAVSkipDecode (docs/data.md), or rewrite it with '
    'tools/data/transcode.py'
)


class CheckedDecord:
    """``DecordInit`` or ``DecordDecode`` that gives no other frame than asked for.

    decord 0.6.0 seeks to what the container calls a key frame and counts packets from
    there. Where packets are hidden by an edit list, where pictures before a key frame
    need it (open groups of pictures, HEVC), and where the container does not store
    presentation times (AVI, transport streams), it gives other frames, or never
    returns. Files are therefore looked through by PyAV before decord opens them.

    Args:
        transform (DecordInit | DecordDecode): what to call.
    """

    def __init__(self, transform: DecordInit | DecordDecode) -> None:
        self.transform = transform

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
        ours = PyAVSkipInit(self.transform.io_backend, **self.transform.kwargs)
        reader = ours.open(name)
        if reader.irregularity:
            raise VideoError(
                f'{name}: expected a file whose frames decord finds, got '
                f'{reader.coding} ({reader.irregularity}); {_REMEDY}'
            )
        with video_errors(name, *_DECORD_ERRORS):
            results = _limited(lambda: self.transform(results), name)
        if results['total_frames'] != len(reader):
            raise VideoError(
                f'{name}: expected the {len(reader)} frames of {reader.coding}, decord '
                f'counts {results["total_frames"]}; {_REMEDY}'
            )
        return results

    def __repr__(self) -> str:
        return repr(self.transform)


def check_decord(transforms: list[Any]) -> list[Any]:
    """Put :class:`CheckedDecord` around the decord transforms of a pipeline."""
    return [
        CheckedDecord(t) if isinstance(t, (DecordInit, DecordDecode)) else t
        for t in transforms
    ]


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
        raise VideoError(
            f'{name}: expected frames within {_TIME_LIMIT} s, decord gave none; '
            f'{_REMEDY}'
        )
    if 'error' in outcome:
        raise outcome['error']
    return outcome['result']
