"""Frames of a video by their number, without decoding what is not asked for.

A frame that no other is predicted from (H.264: ``nal_ref_idc`` 0, ITU-T H.264,
sec. 7.4.1) need not be decoded unless it is wanted itself; of an x264 file with its
default settings that is about every second one. FFmpeg skips them when the decoder's
``skip_frame`` is ``NONREF``.

That alone does not say which packet holds frame k. The reader therefore demuxes the
file once, keeps the packets, and numbers them by their presentation times. It does so
only if the container stores these times, and every packet provably holds one picture
that is shown, see :mod:`.bitstream`; it starts decoding only at random access points;
and while decoding it checks that frames come out undamaged, in the order of their
times, and the wanted ones among them. Where one of these fails, it decodes the file
from its beginning and counts, which is always right, and slow.

A video that ends before its headers say, changes its size, or needs FFmpeg to make up
parts of a picture is an error: nobody would see it in the numbers of a run.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from os import stat
from pathlib import Path
from stat import S_ISREG
from time import thread_time
from typing import Any, BinaryIO

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from projects.adamae_command import tool_name

from . import bitstream
from .error import PYAV_ERRORS, VideoError, video_errors
from .truncation import EndCheck, missing_bytes

# Containers that store when each frame is shown; for others FFmpeg may guess it.
_TIMED_CONTAINERS = ('mov,mp4,m4a,3gp,3g2,mj2', 'matroska,webm')

# By default, the H.264 decoder drops frames if their reorder delay grows beyond what
# the stream states, or what was seen before. This is the standard's greatest delay.
_MAX_REORDER_DELAY = {'has_b_frames': '16'}

# FFmpeg's H.264, MPEG-4 and MPEG-2 decoders mark frames of which they make up parts.
# That of HEVC marks none, but can be told to give an error where references are lost.
_DECODER_OPTIONS = {'h264': _MAX_REORDER_DELAY, 'hevc': {'err_detect': 'explode'}}

# That of VP9 does neither; libvpx, which is as fast and gives the same pictures, finds
# most damage.
_VP9_DECODER = 'libvpx-vp9'
_PROJECTION = b'\x76\x70'  # Matroska's element that may hold a rotation

# Of contents that name other files (lists of parts), nothing is opened.
_NO_OTHER_FILES = {'protocol_whitelist': 'none'}

# Formats that are no videos unless the name says so; FFmpeg reads them as one frame.
_PICTURES = {'gif': ('.gif',), 'apng': ('.png', '.apng'), 'ico': (), 'image2': ()}

# What a plainly decoded file may keep of its frames between counting and reading, so
# that it need not be decoded twice; in bytes.
_MAX_KEPT = 2**28

# Before version 17, PyAV converts on one thread, and cannot be told to.
_ONE_THREAD = {'threads': 1} if int(av.__version__.split('.')[0]) >= 17 else {}


def require_regular_file(path: str) -> None:
    """Say that a path is none that can be read to its end; pipes and devices are not.

    Raises:
        ValueError: if it exists and is no regular file.
        OSError: if it does not exist, or cannot be looked at.
    """
    if not S_ISREG(stat(path).st_mode):
        raise ValueError('no regular file')


class _Clock:
    """Says when the time for a video is up."""

    def __init__(self, name: str, limit: float) -> None:
        self._name, self._limit = name, limit
        # Not that on the wall: it goes on while the processor does something else.
        self._deadline = thread_time() + limit

    def check(self) -> None:
        if thread_time() > self._deadline:
            raise VideoError(
                f'{self._name}: expected frames within {self._limit} s of processor '
                f'time; transcode it ({tool_name("data/transcode.py")}), or set a '
                'higher time_limit of PyAVSkipInit',
                'too slow',
            )


class _WatchedFile:
    """A file whose reader cannot go round in circles for ever.

    It must not know the video's reader, whose packets know their file: that would be
    a circle of references, and memory that stays until garbage is collected.
    """

    def __init__(self, file: Any, clock: _Clock) -> None:
        self.seek, self.tell = file.seek, file.tell
        self._read, self._clock = file.read, clock

    def read(self, size: int = -1) -> bytes:
        self._clock.check()
        return self._read(size)


class _NotExact(Exception):
    """What came out of the decoder is not what the index promised."""


class VideoReader:
    """A video whose frames are numbered in presentation order.

    Frame k is the k-th of all frames, as FFmpeg decodes them on one thread, bit for
    bit. :meth:`get_frames` applies the rotation that the file states (telephones).

    What an edit list hides, as cutting without re-encoding leaves it at the beginning
    and the end, is neither decoded by FFmpeg nor counted here: frame 0 is the first
    that a player shows.

    Of a damaged file, that can hold for no reader: what is missing, FFmpeg takes from
    whatever is in memory. ``len`` may then count frames that cannot be decoded; to ask
    for them is an error.

    Args:
        file (str | BinaryIO): path, or a seekable binary file, which must stay open.
        name (str): what to call the file in errors. Defaults to ``str(file)``.
        time_limit (float): seconds of processor time that opening it, and each call,
            may take; more is an error. Defaults to 60.

    Attributes:
        indexed (bool): whether frames are found by index; False means that each
            access decodes the file from its beginning.
        fps (float): average frames per second; 0 if the file does not say.
        codec (str): FFmpeg's name of the codec.
        container (str): FFmpeg's short names of the container, with commas.
        coding (str): codec, and the container's long name.

    Raises:
        VideoError: if the file is missing, is no regular file, must not be read, holds
            no video, or no frame of it can be decoded; if it is a picture, or ends
            before its headers say; if a frame was damaged, has another size than the
            others, or comes too late. Its ``kind`` tells which.
        OSError: if it cannot be read for other reasons.
    """

    def __init__(
        self, file: str | BinaryIO, name: str | None = None, time_limit: float = 60
    ) -> None:
        self.name = str(file) if name is None else name
        self.time_limit = time_limit
        self.coding = self.codec = self.container = ''
        self._file = file
        self._missing: int | None = None
        self._size: tuple[int, int] | None = None
        self._packets: list[Any] = []
        self._start_clock()
        try:
            has_times = self._read_packets()
        except VideoError as error:
            if self._missing and error.kind == 'unreadable':
                raise self._truncated(
                    f'its header says that {self._missing} more bytes follow its end'
                ) from error
            raise
        #: Positions (in decoding order) of the frames, in presentation order.
        self._shown: list[int] = []
        self._random_access_points: list[int] = []
        self.indexed = has_times and self._build_index()
        self._kept: list[av.VideoFrame] = []  # the first frames
        self._length = len(self._shown) if self.indexed else self._count()
        if not self._length:
            with self._errors():
                raise ValueError('no frame can be decoded')

    def __len__(self) -> int:
        return self._length

    @property
    def times(self) -> np.ndarray | None:
        """When each frame is shown, in seconds after the first: float64, (frames,).

        None if frames are not found by index; they are then about 1 / ``fps`` apart.
        """
        if not self.indexed:
            return None
        shown = np.array([self._packets[i].pts for i in self._shown])
        return (shown - shown[0]) * float(self._packets[0].time_base)

    def check(self) -> None:
        """Decode every frame.

        Raises:
            VideoError: if that cannot be done, see the class.
        """
        if self.indexed:  # else that is how they were counted
            self._start_clock()
            count = sum(1 for _ in self._all())
            if count < len(self):
                raise self._too_few(count)

    def _read_packets(self) -> bool:
        """Read the packets; gives whether the container stores their times."""
        with self._open() as (container, stream), self._errors():
            self.fps = float(stream.average_rate or 0)
            check = EndCheck(container, stream, self._missing)
            packets = list(container.demux(check.streams))
            problem = check.problem_of(packets)
            if problem:
                raise self._truncated(problem)
            if len(check.streams) > 1:
                packets = [p for p in packets if p.stream_index == stream.index]
            if packets and not packets[-1].size:
                packets.pop()  # PyAV's sign of the end
            self._packets = packets
            return container.format.name in _TIMED_CONTAINERS

    def _truncated(self, problem: str) -> VideoError:
        return VideoError(
            f'{self.name}: truncated: {problem}; get it anew, or keep what is left '
            f'({tool_name("data/transcode.py")} --keep-truncated)',
            'truncated',
        )

    def _too_few(self, count: int) -> VideoError:
        return VideoError(
            f'{self.name}: expected {len(self)} frames, but only {count} can be '
            'decoded',
            'damaged',
        )

    def _start_clock(self) -> None:
        self._clock = _Clock(self.name, self.time_limit)

    def _checked(self, frames: Iterable[Any]) -> Iterator[Any]:
        """Let frames pass that are whole and of one size."""
        for frame in frames:
            self._clock.check()
            if frame.is_corrupt:
                raise VideoError(
                    f'{self.name}: damaged: FFmpeg made up parts of a frame; get it '
                    'anew',
                    'damaged',
                )
            size = frame.width, frame.height
            if self._size not in (None, size):
                old, new = (f'{w}x{h}' for w, h in (self._size or size, size))
                raise VideoError(
                    f'{self.name}: expected frames of one size, got {old} and {new}; '
                    f'transcode it ({tool_name("data/transcode.py")})',
                    'changing size',
                )
            self._size = size
            yield frame

    @property
    def irregularity(self) -> str:
        """Why frames are not found by counting packets from the key frames; or ''.

        That is how other readers, decord for one, look for them: it is right if every
        packet is a picture that is shown, and nothing reaches across a key frame.
        """
        if not self.indexed:
            return 'packets cannot be numbered'
        if len(self._shown) < len(self._packets):
            return 'an edit list hides frames'
        keys = [i for i, packet in enumerate(self._packets) if packet.is_keyframe]
        if keys != self._random_access_points:
            return 'open groups of pictures'
        return ''

    @property
    def packet_times(self) -> list[float]:
        """When packets are shown, in seconds, in order; none if the file is silent."""
        shown = [packet for packet in self._packets if not packet.is_discard]
        if any(packet.pts is None for packet in shown):
            return []
        return sorted(float(packet.pts * packet.time_base) for packet in shown)

    def get_thumbnails(
        self, indices: Sequence[int], side: int
    ) -> tuple[int, int, list[np.ndarray]]:
        """Decode frames into small squares; errors as for :meth:`decode`.

        Args:
            indices (Sequence[int]): see :meth:`decode`.
            side (int): height and width of the squares.

        Returns:
            tuple[int, int, list[np.ndarray]]: height and width of a whole frame; RGB,
            uint8 (``side``, ``side``, 3), averaged over areas.
        """
        frames = self.decode(indices)
        reformatter = VideoReformatter()
        small = dict(width=side, height=side, interpolation='AREA')
        images = [self._to_rgb(frames[int(i)], reformatter, **small) for i in indices]
        frame = frames[int(indices[0])]
        size = frame.height, frame.width
        height, width = size[::-1] if round(frame.rotation / 90) % 2 else size
        return height, width, images

    def get_frames(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Decode frames into RGB; arguments and errors as for :meth:`decode`.

        Returns:
            list[np.ndarray]: uint8 (H, W, 3), in the order asked for. No two share
            memory.
        """
        frames = self.decode(indices)
        reformatter = VideoReformatter()
        # A repeated frame is converted again: later transforms may write into it.
        return [self._to_rgb(frames[int(i)], reformatter) for i in indices]

    def decode(self, indices: Sequence[int]) -> dict[int, av.VideoFrame]:
        """Decode frames, without converting them to RGB.

        Args:
            indices (Sequence[int]): numbers of frames in [0, ``len(self)``), in any
                order, repeated or not.

        Returns:
            dict[int, av.VideoFrame]: number to frame, each once.

        Raises:
            IndexError: if the video has no such frame.
            VideoError: if one of the frames cannot be decoded.
        """
        self._start_clock()
        numbers = {int(i) for i in indices}
        wrong = [i for i in numbers if not 0 <= i < len(self)]
        if wrong:
            raise IndexError(
                f'{self.name}: expected frames 0 to {len(self) - 1}, got {wrong[0]}'
            )
        if self.indexed:
            try:
                return self._decode_indexed(numbers)
            except (_NotExact, VideoError) as error:
                if getattr(error, 'kind', '') == 'too slow':
                    raise
                self.indexed = False
        return self._decode_plain(numbers)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with video_errors(self.name, *PYAV_ERRORS):
                yield
        except VideoError as error:
            if not self.coding:
                raise
            raise VideoError(f'{error} ({self.coding})', error.kind) from (
                error.__cause__
            )

    @contextmanager
    def _open(self) -> Iterator[tuple[Any, Any]]:
        """Open the file; gives container and video stream, sets the decoder."""
        with ExitStack() as stack:
            with self._errors():
                # Python reads the file, also if it has a path: what the system raises
                # is then an OSError, and what FFmpeg raises is due to the content (it
                # has EIO, EPERM and ENOMEM for damaged files, too).
                file: Any = self._file
                if isinstance(file, str):
                    require_regular_file(file)
                    file = stack.enter_context(open(file, 'rb'))
                self._missing = missing_bytes(file)
                file.seek(0)
                container: Any = av.open(
                    _WatchedFile(file, self._clock),
                    # A title that is no UTF-8 is no reason not to read the pictures.
                    metadata_errors='replace',
                    timeout=self.time_limit,
                    container_options=_NO_OTHER_FILES,
                )
                stack.enter_context(container)
                self.container = container.format.name
                self._refuse_picture(self.container)
                self.coding = container.format.long_name
                if not container.streams.video:
                    raise ValueError('no video stream')
                stream = container.streams.video[0]
                if stream.codec_context is None:
                    raise ValueError('FFmpeg has no decoder for its codec')
                self._context = context = stream.codec_context
                self.codec = context.name
                self.coding = f'{self.codec} in {container.format.long_name}'
                if self.codec == 'vp9' and context.pix_fmt == 'yuv420p':
                    self._use_libvpx(container.format.name, file)
                # Loaders have a process per core: threads would get in their way.
                self._context.thread_count = 1
                self._context.thread_type = 'NONE'
                self._context.options = _DECODER_OPTIONS.get(self.codec, {})
            yield container, stream

    def _refuse_picture(self, container: str) -> None:
        """Say that a file is a picture: FFmpeg calls those of a kind 'jpeg_pipe'."""
        suffixes = () if container.endswith('_pipe') else _PICTURES.get(container)
        if suffixes is not None and Path(self.name).suffix.lower() not in suffixes:
            kind = container.removesuffix('_pipe')
            raise VideoError(
                f'{self.name}: expected a video, got a picture ({kind})', 'picture'
            )

    def _use_libvpx(self, container: str, file: BinaryIO) -> None:
        """Use it where no rotation is stated: that is known to FFmpeg's decoder."""
        if 'matroska' not in container:
            return
        at = file.tell()
        file.seek(0)
        header = file.read(2**16).partition(bytes.fromhex('1F43B675'))[0]  # cluster
        file.seek(at)
        if _PROJECTION not in header:
            with suppress(ValueError):  # a build without it
                self._context = av.CodecContext.create(_VP9_DECODER, 'r')

    def _build_index(self) -> bool:
        """Number the packets; False if they cannot be numbered."""
        packets = self._packets
        extradata = bytes(self._context.extradata or b'')
        parse = bitstream.packet_parser(self.codec, extradata)
        if parse is None:
            return False
        pictures = []
        for packet in packets:
            # Decoders take other parameters from side data, too.
            if (
                packet.pts is None
                or packet.is_corrupt
                or packet.has_sidedata('new_extradata')
            ):
                return False
            pictures.append(parse(bytes(packet)))
        order = sorted(range(len(packets)), key=lambda i: packets[i].pts)
        # An edit list marks what must be decoded and not be shown.
        self._shown = [i for i in order if not packets[i].is_discard]
        self._random_access_points = [
            i
            for i, picture in enumerate(pictures)
            if picture is bitstream.Picture.RANDOM_ACCESS_POINT
        ]
        groups = [bisect(self._random_access_points, i) for i in order]
        # Times that repeat, that reach across a random access point, or that follow
        # the decoding order of B pictures are not those at which frames are shown.
        return (
            None not in pictures
            and self._random_access_points[:1] == [0]
            and len({packet.pts for packet in packets}) == len(packets)
            and groups == sorted(groups)
            and (order != sorted(order)) == (bitstream.Picture.BIPREDICTED in pictures)
        )

    def _decode_indexed(self, numbers: set[int]) -> dict[int, av.VideoFrame]:
        """Decode by index, and check what comes out."""
        positions = [self._shown[i] for i in numbers]
        number_at = {self._packets[self._shown[i]].pts: i for i in numbers}
        frames: dict[int, av.VideoFrame] = {}
        last = None
        for frame in self._decode_needed(positions):
            # Two fields may come in one packet or in two.
            if frame.interlaced_frame or frame.pts is None:
                raise _NotExact
            if last is not None and frame.pts <= last:
                raise _NotExact
            last = frame.pts
            if last in number_at:
                frames[number_at[last]] = frame
        if len(frames) < len(numbers):
            raise _NotExact
        return frames

    def _decode_needed(self, positions: list[int]) -> Iterator[Any]:
        """Decode from the nearest random access points, skipping what nothing needs."""
        context, packets = self._context, self._packets
        # Other codecs have no frames that FFmpeg knows to be of no use to others.
        unwanted = 'NONREF' if self.codec == 'h264' else 'DEFAULT'
        starts = self._random_access_points
        for start, end in zip(starts, [*starts[1:], len(packets)], strict=True):
            wanted = {p for p in positions if start <= p < end}
            if not wanted:
                continue
            context.flush_buffers()
            for position in range(start, max(wanted) + 1):
                context.skip_frame = 'DEFAULT' if position in wanted else unwanted
                with self._errors():
                    yield from self._checked(context.decode(packets[position]))
            with self._errors():
                yield from self._checked(context.decode(None))

    def _all(self) -> Iterator[Any]:
        """Decode every frame, from a fresh start."""
        with self._open() as (container, stream), self._errors():
            for packet in container.demux(stream):
                yield from self._checked(self._context.decode(packet))

    def _count(self) -> int:
        """Count by decoding; as many frames are kept as may be."""
        count = size = 0
        for frame in self._all():
            count += 1
            size += sum(plane.buffer_size for plane in frame.planes)
            if size <= _MAX_KEPT:
                self._kept.append(frame)
        return count

    def _decode_plain(self, numbers: set[int]) -> dict[int, av.VideoFrame]:
        if max(numbers, default=0) < len(self._kept):
            return {i: self._kept[i] for i in numbers}
        frames: dict[int, av.VideoFrame] = {}
        number = -1
        for number, frame in enumerate(self._all()):
            if number in numbers:
                frames[number] = frame
            if len(frames) == len(numbers):
                return frames
        raise self._too_few(number + 1)

    def _to_rgb(
        self, frame: Any, reformatter: VideoReformatter, **size: Any
    ) -> np.ndarray:
        """Convert as ``frame.to_ndarray(format='rgb24')`` does, on one thread."""
        with self._errors():
            image = reformatter.reformat(frame, format='rgb24', **size, **_ONE_THREAD)
            array = image.to_ndarray()
            turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(array, turns)) if turns else array
