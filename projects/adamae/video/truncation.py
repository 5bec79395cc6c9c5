"""Whether a video file ends before its own headers say.

Sources: RFC 8794 (EBML), RFC 9559 (Matroska: Segment, Duration), ISO/IEC 14496-12,
sec. 4.2 (boxes of MP4), Microsoft's AVI RIFF file reference and OpenDML 1.02.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, BinaryIO

import av

# What holds pictures, or says where they are.
_NEEDED_BOXES = b'moov', b'moof', b'mdat'
_BOXES = (
    *_NEEDED_BOXES,
    *(b'ftyp', b'styp', b'free', b'skip', b'wide', b'uuid', b'sidx', b'mfra', b'udta'),
    *(b'meta', b'pnot', b'emsg', b'prft', b'pdin', b'ssix'),
)
_PAGE = 4096
_LAST = 32  # packets: more than a frame is ever moved by reordering
_EBML, _SEGMENT = bytes.fromhex('1A45DFA3'), bytes.fromhex('18538067')


def missing_bytes(file: BinaryIO) -> int | None:
    """Compare a file's size with that of its outermost elements.

    Matroska and WebM state the size of their segment, MP4 that of each box, AVI that of
    its RIFF chunks. Live recordings state none, other containers neither.

    Args:
        file (BinaryIO): seekable.

    Returns:
        int | None: how many bytes there should be behind the end; None if that is not
        stated, or if the end was never written.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(12)
    end = 0
    if head.startswith(_EBML):
        end = _matroska_end(file, size)
    elif head.startswith(b'RIFF'):
        end = _riff_end(file, size)
    elif head[4:8] in _BOXES:
        end = _mp4_end(file, size)
    return max(0, end - size) if end else None


def _matroska_end(file: BinaryIO, size: int) -> int:
    """Give the end of the segment that is stated, or 0."""
    file.seek(max(0, size - _PAGE))
    if not any(file.read()):  # room that a download has reserved
        return 0
    file.seek(0)
    head = file.read(4096)
    at = 0
    while at < len(head):
        # Both begin with as many zero bits as bytes follow the first (RFC 8794, 4).
        kind, at, _ = _variable_length(head, at, keep_marker=True)
        length, at, unknown = _variable_length(head, at)
        if kind == int.from_bytes(_SEGMENT, 'big'):
            return 0 if unknown else at + length
        at += length
    return 0


def _variable_length(
    data: bytes, at: int, keep_marker: bool = False
) -> tuple[int, int, bool]:
    """Read an integer of EBML; gives value, what follows, whether it is unknown."""
    first = data[at] if at < len(data) else 0
    if not first:
        return 0, len(data), False
    size = 9 - first.bit_length()
    value = int.from_bytes(data[at : at + size], 'big')
    ones = (1 << 7 * size) - 1
    return value if keep_marker else value & ones, at + size, value & ones == ones


def _riff_end(file: BinaryIO, size: int) -> int:
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(8)
        length = int.from_bytes(head[4:], 'little')
        if head[:4] != b'RIFF':
            break
        if length in (0, 2**32 - 1):  # never filled in
            return 0
        at += 8 + length
    return at


def _mp4_end(file: BinaryIO, size: int) -> int:
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], 'big'), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:], 'big')
        if kind not in _BOXES or length < 8:  # junk, or 0: to the end
            break
        at += length
        if at > size and kind not in _NEEDED_BOXES:
            return 0
    return at


class EndCheck:
    """Compares the packets of a video with the length that its headers state.

    What is read counts, not what is decoded: a still at the end may be no frame.

    Args:
        container (InputContainer): of PyAV.
        stream (VideoStream): the video.
        missing (int | None): what :func:`missing_bytes` gives.

    Attributes:
        streams (list[Stream]): whose packets it has to see: more than the video where
            only the length of the longest stream is stated.
    """

    def __init__(self, container: Any, stream: Any, missing: int | None) -> None:
        self._missing = missing
        self._container, self._stream = container, stream
        self._is_avi = container.format.name == 'avi'
        self._tag = _seconds(stream.metadata.get('DURATION', ''))
        matroska = 'matroska' in container.format.name
        self.streams = list(container.streams) if matroska else [stream]
        if self._tag or missing == 0:
            self.streams = [stream]
        self._index = stream.index
        self._time_bases = {s.index: float(s.time_base or 0) for s in self.streams}
        self._forget()

    def _forget(self) -> None:
        self._start = self._end = self._longest = 0.0
        self._previous: int | None = None
        self._count = 0

    def add(self, packet: Any) -> None:
        """See the next packet of :attr:`streams`."""
        dts, index = packet.dts, packet.stream_index
        base = self._time_bases[index]
        time = dts if packet.pts is None else packet.pts
        if time is not None:
            self._start = min(self._start, time * base)
            self._end = max(self._end, (time + (packet.duration or 0)) * base)
        if index != self._index:
            return
        self._count += bool(packet.size)
        if dts is not None:
            if self._previous is not None:
                self._longest = max(self._longest, (dts - self._previous) * base)
            self._previous = dts

    def problem_of(self, packets: Sequence[Any]) -> str:
        """See all packets, and give :meth:`problem`; nothing was seen before."""
        # Looking at all would take a twentieth of the time of reading a clip; that the
        # last ones are where they should be is enough.
        for part in (packets[-_LAST:], packets):
            self._forget()
            for packet in part:
                self.add(packet)
            if not self.problem():
                return ''
        return self.problem()

    def problem(self) -> str:
        """Say what was expected and found; '' if all is there, or not stated."""
        length, found = self._length(), self._end - self._start
        # Few files say how long the last frame is shown, and clocks may be coarse.
        if found < length - max(0.1, 2 * self._longest):
            return f'expected {length:.2f} s, as its header says, found {found:.2f} s'
        # Some programs have written sizes into AVI files that were never right.
        if self._missing and not (self._is_avi and self._count >= self._stream.frames):
            return f'its header says that {self._missing} more bytes follow its end'
        return ''

    def _length(self) -> float:
        """Give the length in seconds that the headers state; 0 if they do not."""
        stream, container = self._stream, self._container
        if self._is_avi:  # its duration is FFmpeg's guess from the size of the file
            return float(stream.frames * stream.time_base)
        if 'mp4' in container.format.name:
            return float((stream.duration or 0) * stream.time_base)
        if 'matroska' not in container.format.name:
            return 0.0  # such as MPEG streams
        if self._missing == 0:  # how long the last frame is shown, no packet may say
            return 0.0
        length = (container.duration or 0) / av.time_base  # of the longest, be it sound
        if self._tag:  # which a program that cut the file may have left as it was
            return min(self._tag, length)
        # FFmpeg guesses where there is none, if it knows a stream's bit rate.
        contexts = [s.codec_context for s in container.streams]
        return 0.0 if any(c and c.bit_rate for c in contexts) else length


def _seconds(text: str) -> float:
    """Read ``hours:minutes:seconds``; 0 if it is not that."""
    try:
        hours, minutes, seconds = text.split(':')
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return 0.0
