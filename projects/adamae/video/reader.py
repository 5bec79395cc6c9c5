"""Frames of a video by their number, without decoding what is not asked for.

A frame that no other is predicted from (H.264: ``nal_ref_idc`` 0, ITU-T H.264,
sec. 7.4.1) need not be decoded unless it is wanted itself; of an x264 file with its
default settings that is about every second one. FFmpeg leaves them out when the
decoder's ``skip_frame`` is ``NONREF``.

That alone does not say which packet holds frame k. The reader therefore demuxes the
file once, keeps the packets, and numbers them by their presentation times. It does so
only if the container stores these times, and every packet provably holds one picture
that is shown, see :mod:`.bitstream`; it starts decoding only where the standard
forbids looking back; and while decoding it checks that frames come out undamaged, in
the order of their times, and the wanted ones among them. Where one of these fails, it
decodes the file from its beginning and counts, which is always right, and slow.

Nor does a packet that holds a picture give one: FFmpeg drops those that come too late
to be put in order. It holds back as many as the stream says are shown late, or else as
many as it has seen to be, and where that grows on the way, it loses some. The index is
used only if at least as many are held back from the beginning as the order of the
packets asks for.
"""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any, BinaryIO

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from . import bitstream

# Containers that store when each frame is shown; for others FFmpeg may guess it.
_TIMED_CONTAINERS = ('mov,mp4,m4a,3gp,3g2,mj2', 'matroska,webm')


# Before version 17, PyAV converts on one thread, and cannot be told to.
_ONE_THREAD = {'threads': 1} if int(av.__version__.split('.')[0]) >= 17 else {}


class _NotExact(Exception):
    """What came out of the decoder is not what the index promised."""


class VideoReader:
    """A video whose frames are numbered in the order in which they are shown.

    Frame k is the k-th that plain PyAV decoding (``container.decode(video=0)``, on one
    thread) gives, bit for bit. Where the file says that its pictures lie on their side
    or on their head, as those of telephones do, :meth:`get_frames` sets them upright.

    Of a damaged file, that can hold for no reader: what is missing, FFmpeg takes from
    whatever is in memory. ``len`` may then count frames that cannot be decoded; to ask
    for them is an error.

    Args:
        file (str | BinaryIO): path, or a seekable binary file.
        name (str): what to call the file in errors. Defaults to ``str(file)``.

    Attributes:
        indexed (bool): whether frames are found by index; False means that each
            access decodes the file from its beginning.
        fps (float): average frames a second; 0 if the file does not say.

    Raises:
        OSError: if the file cannot be opened, holds no video, or no frame of it can
            be decoded.
    """

    def __init__(self, file: str | BinaryIO, name: str | None = None) -> None:
        self.name = str(file) if name is None else name
        self._file = file
        self.indexed = False
        with self._errors_name_the_file():
            self._container = self._open()
            stream = self._container.streams.video[0]
            self.fps = float(stream.average_rate or 0)
            self._context = stream.codec_context
            self._packets = list(self._container.demux(stream))
            if self._packets and not self._packets[-1].size:
                self._packets.pop()  # PyAV's sign of the end
            self._build_index()
            self._length = (
                len(self._shown) if self.indexed else sum(1 for _ in self._plain())
            )
        if not self._length:
            raise OSError(f'{self.name}: expected a video, got no frame of one')

    def __len__(self) -> int:
        return self._length

    def get_frames(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Decode frames.

        Args:
            indices (Sequence[int]): numbers of frames in [0, ``len(self)``), in any
                order, repeated or not.

        Returns:
            list[np.ndarray]: uint8 (H, W, 3), RGB, in the order asked for. No two
            share memory.

        Raises:
            IndexError: if the video has no such frame.
            OSError: if one of the frames cannot be decoded.
        """
        frames = self.decode(indices)
        reformatter = VideoReformatter()
        with self._errors_name_the_file():
            # A repeated frame is converted again: later transforms may write into it.
            return [_to_rgb(frames[int(i)], reformatter) for i in indices]

    def decode(self, indices: Sequence[int]) -> dict[int, av.VideoFrame]:
        """Decode frames, without converting them to RGB.

        Args:
            indices (Sequence[int]): as for :meth:`get_frames`.

        Returns:
            dict[int, av.VideoFrame]: number to frame, each once.

        Raises:
            IndexError: if the video has no such frame.
            OSError: if one of the frames cannot be decoded.
        """
        numbers = {int(i) for i in indices}
        wrong = [i for i in numbers if not 0 <= i < len(self)]
        if wrong:
            raise IndexError(
                f'{self.name}: expected frames 0 to {len(self) - 1}, got {wrong[0]}'
            )
        with self._errors_name_the_file():
            if self.indexed:
                try:
                    return self._decode_indexed(numbers)
                except (_NotExact, av.FFmpegError):
                    self.indexed = False
            return self._decode_plain(numbers)

    def close(self) -> None:
        """Free the packets and the decoder; the reader cannot be used after."""
        self._packets.clear()
        self._container.close()

    def _open(self) -> Any:
        file: Any
        if isinstance(self._file, str):
            # Else FFmpeg takes what stands before a colon for a protocol.
            file = f'file:{self._file}'
        else:
            self._file.seek(0)
            file = self._file
        # A title that is no UTF-8 is no reason not to read the pictures.
        container: Any = av.open(file, metadata_errors='replace')
        if not container.streams.video:
            container.close()
            raise OSError('no video stream')
        stream = container.streams.video[0]
        if stream.codec_context is None:
            container.close()
            raise OSError('FFmpeg has no decoder for its codec')
        # A loader has a process a core: threads would only get in each other's way.
        stream.codec_context.thread_count = 1
        stream.thread_type = 'NONE'
        return container

    @contextmanager
    def _errors_name_the_file(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            missing = isinstance(error, FileNotFoundError)
            text = getattr(error, 'strerror', None) or error
            raise (FileNotFoundError if missing else OSError)(
                f'{self.name}: expected a readable video, got: {text}'
            ) from error
        except MemoryError:
            raise  # the video is not to blame
        except Exception as error:
            # On a damaged file PyAV raises whatever its Python parts run into.
            raise OSError(
                f'{self.name}: expected a readable video, got: '
                f'{type(error).__name__}: {error}'
            ) from error

    def _build_index(self) -> None:
        """Number the packets, or find out that they cannot be numbered."""
        packets = self._packets
        #: Positions (in decoding order) of the frames, in the order they are shown.
        self._shown: list[int] = []
        self._starts: list[int] = []
        extradata = bytes(self._context.extradata or b'')
        describe = bitstream.describer(self._context.name, extradata)
        if describe is None or self._container.format.name not in _TIMED_CONTAINERS:
            return
        late = 0
        for position, packet in enumerate(packets):
            picture = None
            usable = packet.pts is not None and not packet.is_corrupt
            # Decoders take other parameters from beside a packet, too.
            if usable and not packet.has_sidedata('new_extradata'):
                picture = describe(bytes(packet))
            if picture is None:
                return
            if picture is bitstream.Picture.CLEAN_START:
                self._starts.append(position)
            elif picture is bitstream.Picture.BIPREDICTED:
                late = 1  # what FFmpeg, too, takes it for, whatever the times say
            # An edit list marks what must be decoded and not be shown.
            if not packet.is_discard:
                self._shown.append(position)
        unsorted = list(self._shown)
        self._shown.sort(key=lambda i: packets[i].pts)
        # Times that repeat, or follow the order of decoding although the codec has
        # another one for showing, are not those at which the frames are shown.
        self.indexed = (
            self._starts[:1] == [0]
            and len({packets[i].pts for i in self._shown}) == len(self._shown)
            and (self._shown != unsorted) == bool(self._context.has_b_frames)
        )
        if self.indexed and self._context.name == 'h264':
            # Pictures that are not shown are held back, too.
            order = sorted(range(len(packets)), key=lambda i: packets[i].pts)
            latest = list(accumulate(order, max))
            self.indexed = (
                # All that is before a clean start is shown before it.
                all(latest[start - 1] == start - 1 for start in self._starts[1:])
                and max(late, _reordering(order)) <= self._held_back(extradata)
            )

    def _held_back(self, extradata: bytes) -> int:
        """Say how many frames the decoder holds back from the beginning, at least."""
        stated = bitstream.stated_reordering(extradata) or 0
        # What the container says, or FFmpeg found in the first frames. Older versions
        # of PyAV do not tell.
        return max(stated, getattr(self._context, 'reorder_depth', 0))

    def _decode_indexed(self, numbers: set[int]) -> dict[int, av.VideoFrame]:
        """Decode from the nearest clean starts, leaving out what nothing needs."""
        number_of = {self._shown[i]: i for i in numbers}
        pending = {self._packets[p].pts: i for p, i in number_of.items()}
        frames: dict[int, av.VideoFrame] = {}

        last = None

        def take(decoded: Iterable[Any]) -> None:
            nonlocal last
            for frame in decoded:
                # Damage spreads in ways that depend on what was left out; two fields
                # may come in one packet or in two.
                if frame.is_corrupt or frame.interlaced_frame or frame.pts is None:
                    raise _NotExact
                if last is not None and frame.pts <= last:
                    raise _NotExact
                last = frame.pts
                if frame.pts in pending:
                    frames[pending.pop(frame.pts)] = frame

        context = self._context
        # Other codecs have no frames that FFmpeg knows to be of no use to others.
        unwanted = 'NONREF' if context.name == 'h264' else 'DEFAULT'
        ends = [*self._starts[1:], len(self._packets)]
        for start, end in zip(self._starts, ends, strict=True):
            wanted = [p for p in number_of if start <= p < end]
            if not wanted:
                continue
            context.flush_buffers()
            for position in range(start, max(wanted) + 1):
                context.skip_frame = 'DEFAULT' if position in number_of else unwanted
                take(context.decode(self._packets[position]))
            take(context.decode(None))
        if pending:
            raise _NotExact
        return frames

    def _plain(self) -> Iterable[Any]:
        """Decode every frame, from a fresh start."""
        with self._open() as container:
            yield from container.decode(video=0)

    def _decode_plain(self, numbers: set[int]) -> dict[int, av.VideoFrame]:
        frames: dict[int, av.VideoFrame] = {}
        number = -1
        for number, frame in enumerate(self._plain()):
            if number in numbers:
                frames[number] = frame
            if len(frames) == len(numbers):
                return frames
        raise OSError(f'only {number + 1} of {len(self)} frames can be decoded')


def _reordering(order: Sequence[int]) -> int:
    """Say by how many frames a stream's are shown late.

    Args:
        order (Sequence[int]): positions, in decoding order and from 0, of all frames,
            in the order in which they are shown.

    Returns:
        int: how many frames at most are decoded before any one and shown after it.
    """
    depth, seen = 0, list[int]()
    for position in order:
        depth = max(depth, position - bisect(seen, position))
        insort(seen, position)
    return depth


def _to_rgb(frame: Any, reformatter: VideoReformatter) -> np.ndarray:
    """Convert a frame as ``frame.to_ndarray(format='rgb24')`` does, on one thread."""
    image = reformatter.reformat(frame, format='rgb24', **_ONE_THREAD).to_ndarray()
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
