"""What a packet of compressed video holds, read from its headers alone.

Sources: ITU-T H.264, sec. 7.3.1 and 7.4.1 (NAL units), 7.3.3 (slice header), ISO/IEC
14496-15, sec. 5.3 (lengths instead of start codes); VP9 bitstream specification 0.6,
sec. 6.2 (frame header) and annex B (superframes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial


class Picture(Enum):
    """A packet that holds exactly one whole picture that is shown."""

    #: IDR picture or key frame: no later packet depends on an earlier one.
    RANDOM_ACCESS_POINT = 'random access point'
    #: H.264: a B picture, in practice shown before one that is decoded earlier.
    BIPREDICTED = 'bipredicted'
    OTHER = 'other'


def packet_parser(
    codec: str, extradata: bytes
) -> Callable[[bytes], Picture | None] | None:
    """Give a function that says what a packet holds.

    Args:
        codec (str): FFmpeg's name of the codec.
        extradata (bytes): the codec's private data, as the container gives it.

    Returns:
        Callable[[bytes], Picture | None] | None: packet to what it holds, None if
        that is not one shown picture, or cannot be told. None instead of a function
        for codecs other than H.264 and VP9.
    """
    if codec == 'h264':
        # avcC begins with version 1; the size of a length is in its fifth byte.
        is_avcc = len(extradata) > 4 and extradata[0] == 1
        size = (extradata[4] & 3) + 1 if is_avcc else 0
        return partial(_parse_h264, length_size=size, extradata=extradata)
    return _parse_vp9 if codec == 'vp9' else None


def _parse_h264(packet: bytes, length_size: int, extradata: bytes) -> Picture | None:
    """Parse an H.264 access unit; ``length_size`` 0 means start codes."""
    units = (
        _split_by_length(packet, length_size)
        if length_size
        else _split_by_start_code(packet)
    )
    pictures, kind = 0, Picture.OTHER
    for begin, end in units:
        if end > len(packet) or end - begin < 2:
            return None
        unit_type = packet[begin] & 31
        if unit_type in (2, 3, 4):  # slices in partitions, which may be missing
            return None
        # Parameters that change on the way (files joined without encoding them anew)
        # apply to what follows: decoding could not begin just anywhere.
        if unit_type in (7, 8) and packet[begin:end].rstrip(b'\0') not in extradata:
            return None
        if unit_type in (1, 5):
            # first_mb_in_slice is 0, one bit that is set, where a picture (or a
            # field of one: two make a frame) begins.
            pictures += packet[begin + 1] >> 7
            if unit_type == 5:
                kind = Picture.RANDOM_ACCESS_POINT
            elif packet[begin + 1] >> 4 == 0b1010 or packet[begin + 1] >> 2 == 0b100111:
                kind = Picture.BIPREDICTED  # slice_type 1 or 6 follows
    return kind if pictures == 1 else None


def _split_by_length(packet: bytes, size: int) -> Iterator[tuple[int, int]]:
    end = 0
    while end < len(packet):
        begin = end + size
        end = begin + int.from_bytes(packet[end:begin], 'big')
        yield begin, end


def _split_by_start_code(packet: bytes) -> Iterator[tuple[int, int]]:
    begin = packet.find(b'\0\0\1') + 3
    while begin >= 3:
        end = packet.find(b'\0\0\1', begin)
        yield begin, len(packet) if end < 0 else end
        begin = end + 3


def _parse_vp9(packet: bytes) -> Picture | None:
    """Parse a VP9 frame, or a superframe of hidden ones and one that is shown."""
    if not packet:
        return None
    begins = [0]
    if packet[-1] >> 5 == 0b110:
        count, size = (packet[-1] & 7) + 1, (packet[-1] >> 3 & 3) + 1
        index = len(packet) - 2 - count * size
        if index >= 0 and packet[index] == packet[-1]:
            sizes = [
                int.from_bytes(packet[i : i + size], 'little')
                for i in range(index + 1, len(packet) - 1, size)
            ]
            begins = [sum(sizes[:i]) for i in range(count)]
            if sum(sizes) > index:
                return None
    headers = [packet[i] for i in begins]
    # Bits: marker 10, profile (3 adds a bit), shows an existing frame, is no key
    # frame, is shown.
    if any(header >> 6 != 0b10 or header >> 4 & 3 == 3 for header in headers):
        return None
    if sum(bool(header & 8 or header & 2) for header in headers) != 1:
        return None
    is_key = not headers[0] & 0b1100
    return Picture.RANDOM_ACCESS_POINT if is_key else Picture.OTHER
