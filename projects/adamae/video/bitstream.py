"""What a packet of compressed video holds, read from its headers alone.

Sources: ITU-T H.264, sec. 7.3.1 and 7.4.1 (NAL units), 7.4.1.2.1 (parameter sets),
7.3.2.1 (sequence parameter set), 7.3.3 (slice header), annex E (VUI), ISO/IEC 14496-15,
sec. 5.3 (lengths instead of start codes); VP9 bitstream specification 0.6, sec. 6.2
(frame header) and annex B (superframes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial


class Picture(Enum):
    """A packet that holds exactly one whole picture that is shown."""

    #: Nothing behind it, in decoding order, is predicted from what is before it.
    CLEAN_START = 'clean start'
    #: H.264: predicted from two lists of pictures, mostly from a later one, too.
    BIPREDICTED = 'bipredicted'
    OTHER = 'other'


def describer(codec: str, extradata: bytes) -> Callable[[bytes], Picture | None] | None:
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
        return partial(_h264, length_size=size, extradata=extradata)
    return _vp9 if codec == 'vp9' else None


def _h264(packet: bytes, length_size: int, extradata: bytes) -> Picture | None:
    """Describe an H.264 access unit; ``length_size`` 0 means start codes."""
    units = _by_length(packet, length_size) if length_size else _by_code(packet)
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
                kind = Picture.CLEAN_START
            elif packet[begin + 1] >> 4 == 0b1010 or packet[begin + 1] >> 2 == 0b100111:
                kind = Picture.BIPREDICTED  # slice_type 1 or 6 follows
    return kind if pictures == 1 else None


def _by_length(packet: bytes, size: int) -> Iterator[tuple[int, int]]:
    place = 0
    while place < len(packet):
        begin = place + size
        place = begin + int.from_bytes(packet[place:begin], 'big')
        yield begin, place


def _by_code(packet: bytes) -> Iterator[tuple[int, int]]:
    begin = packet.find(b'\0\0\1') + 3
    while begin >= 3:
        end = packet.find(b'\0\0\1', begin)
        yield begin, len(packet) if end < 0 else end
        begin = end + 3


def stated_reordering(extradata: bytes) -> int | None:
    """Read by how many pictures those of an H.264 stream are shown late.

    Args:
        extradata (bytes): the codec's private data, as the container gives it.

    Returns:
        int | None: ``max_num_reorder_frames``, in frames, 0 to 16: how many frames at
        most are decoded before any one and shown after it. The least of them, if there
        are several sequence parameter sets. None if there is none, or if one of them
        does not state it or is malformed.
    """
    depths = []
    for unit in _parameter_sets(extradata):
        try:
            depths.append(_reordering(unit))
        except ValueError:
            return None
    stated = [depth for depth in depths if depth is not None]
    return min(stated) if stated and len(stated) == len(depths) else None


def _parameter_sets(extradata: bytes) -> Iterator[bytes]:
    """Give the sequence parameter sets, as NAL units."""
    if extradata[:1] != b'\1':
        for begin, end in _by_code(extradata):
            if begin < end and extradata[begin] & 31 == 7:
                yield extradata[begin:end]
        return
    place = 6
    for _ in range(extradata[5] & 31 if len(extradata) > 5 else 0):
        begin = place + 2
        place = begin + int.from_bytes(extradata[place:begin], 'big')
        # Cut off, it is malformed: an empty unit says so.
        yield extradata[begin:place] if place <= len(extradata) else b''


class _Bits:
    """Bits of a NAL unit's payload, from the first one.

    Args:
        unit (bytes): with its header of one byte.

    Raises:
        ValueError: if there are none, or, of any method, if they do not suffice or are
            out of range.
    """

    def __init__(self, unit: bytes) -> None:
        # 0 0 3 stands for 0 0, lest it look like a start code.
        payload = unit[1:].replace(b'\0\0\3', b'\0\0').rstrip(b'\0')
        if not payload:
            raise ValueError('expected a payload, got none')
        self._bits = ''.join(f'{byte:08b}' for byte in payload).rstrip('0')[:-1]
        self._place = 0

    def fixed(self, count: int = 1) -> int:
        """Read an unsigned integer of ``count`` bits."""
        begin, self._place = self._place, self._place + count
        if self._place > len(self._bits):
            raise ValueError(f'expected {count} more bits, got the end')
        return int(self._bits[begin : self._place], 2)

    def golomb(self, largest: int = 2**32 - 2) -> int:
        """Read an unsigned Exp-Golomb code (sec. 9.1)."""
        zeros = 0
        while not self.fixed():
            zeros += 1
        value = (1 << zeros) - 1 + (self.fixed(zeros) if zeros else 0)
        if value > largest:
            raise ValueError(f'expected at most {largest}, got {value}')
        return value

    def signed(self) -> int:
        """Read a signed Exp-Golomb code (sec. 9.1.1)."""
        value = self.golomb()
        return (value + 1) // 2 if value & 1 else -(value // 2)


# Profiles whose parameter sets have, or have not, the fields of the High ones. Those
# that FFmpeg and the standard do not read alike are in neither.
_HIGH_PROFILES = 44, 83, 86, 100, 110, 118, 122, 128, 138, 244
_SIMPLE_PROFILES = 66, 77, 88


def _reordering(unit: bytes) -> int | None:
    """Read ``max_num_reorder_frames`` from a sequence parameter set.

    Args:
        unit (bytes): the NAL unit.

    Returns:
        int | None: in frames; None if it is not stated.

    Raises:
        ValueError: if the unit is malformed, or of a profile that is not known.
    """
    bits = _Bits(unit)
    profile = bits.fixed(8)
    if unit[0] & 31 != 7 or profile not in (*_HIGH_PROFILES, *_SIMPLE_PROFILES):
        raise ValueError(f'expected a known profile, got {profile}')
    bits.fixed(16)  # constraints, level
    bits.golomb(31)  # number of the set
    if profile in _HIGH_PROFILES:
        _skip_high_profile(bits)
    bits.golomb(12)  # bits of a frame number
    order = bits.golomb(2)
    if order == 0:
        bits.golomb(12)  # bits of a picture's place in the order
    elif order == 1:
        bits.fixed()
        bits.signed()
        bits.signed()
        for _ in range(bits.golomb(255)):
            bits.signed()
    bits.golomb(16)  # reference frames
    bits.fixed()  # gaps
    bits.golomb()  # width
    bits.golomb()  # height
    if not bits.fixed():  # not frames only
        bits.fixed()
    bits.fixed()  # direct_8x8_inference_flag
    if bits.fixed():  # cropping
        for _ in range(4):
            bits.golomb()
    return _reordering_of_vui(bits) if bits.fixed() else None


def _skip_high_profile(bits: _Bits) -> None:
    """Skip chroma format, depths and scaling lists (sec. 7.3.2.1.1)."""
    chroma = bits.golomb(3)
    if chroma == 3:
        bits.fixed()
    bits.golomb(6)
    bits.golomb(6)
    bits.fixed()
    if not bits.fixed():
        return
    for i in range(12 if chroma == 3 else 8):
        following = 8 if bits.fixed() else 0
        last = following
        for _ in range(16 if i < 6 else 64):
            # Once 0, the rest of the list is not in the stream.
            if not following:
                break
            following = (last + bits.signed()) % 256
            last = following or last


def _reordering_of_vui(bits: _Bits) -> int | None:
    """Read as :func:`_reordering` does, from the VUI parameters (sec. E.1.1)."""
    if bits.fixed() and bits.fixed(8) == 255:  # aspect ratio
        bits.fixed(32)
    if bits.fixed():  # overscan
        bits.fixed()
    if bits.fixed():  # video signal
        bits.fixed(4)
        if bits.fixed():
            bits.fixed(24)
    if bits.fixed():  # place of chroma samples
        bits.golomb(5)
        bits.golomb(5)
    if bits.fixed():  # timing
        bits.fixed(65)
    has_hrd = [_skip_hrd(bits) for _ in range(2)]
    if any(has_hrd):
        bits.fixed()  # low_delay_hrd_flag
    bits.fixed()  # pic_struct_present_flag
    if not bits.fixed():  # bitstream_restriction_flag
        return None
    bits.fixed()
    for _ in range(4):  # sizes, lengths of motion vectors
        bits.golomb(31)
    depth = bits.golomb(16)
    bits.golomb(16)  # max_dec_frame_buffering
    return depth


def _skip_hrd(bits: _Bits) -> bool:
    """Skip the parameters of a hypothetical decoder (sec. E.1.2), if they are there."""
    if not bits.fixed():
        return False
    count = bits.golomb(31) + 1
    bits.fixed(8)
    for _ in range(count):
        bits.golomb()
        bits.golomb()
        bits.fixed()
    bits.fixed(20)
    return True


def _vp9(packet: bytes) -> Picture | None:
    """Describe a VP9 frame, or a superframe of hidden ones and one that is shown."""
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
    return Picture.CLEAN_START if is_key else Picture.OTHER
