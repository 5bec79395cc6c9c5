"""Files in many formats whose frames carry their number in their pixels."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType

SIZE = 64, 96
#: name: (suffix, encoder, its options, the muxer's options)
FORMATS = {
    'x264 default': ('mp4', 'libx264', {}, {}),
    'closed GOPs': ('mp4', 'libx264', {'g': '12'}, {}),
    'open GOPs': ('mp4', 'libx264', {'g': '12', 'x264-params': 'open-gop=1'}, {}),
    'deep pyramid': ('mkv', 'libx264', {'x264-params': 'bframes=7:b-adapt=0'}, {}),
    'no B-frames': ('mp4', 'libx264', {'tune': 'zerolatency', 'slices': '3'}, {}),
    'intra refresh': ('mkv', 'libx264', {'x264-params': 'intra-refresh=1'}, {}),
    'interlaced': ('mp4', 'libx264', {'x264-params': 'tff=1'}, {}),
    'fragmented': ('mp4', 'libx264', {'g': '15'}, {'movflags': 'frag_keyframe'}),
    'transport stream': ('ts', 'libx264', {'g': '15'}, {}),
    'H.264 in AVI': ('avi', 'libx264', {}, {}),
    'HEVC': ('mp4', 'libx265', {'x265-params': 'log-level=none'}, {}),
    'VP9': ('webm', 'libvpx-vp9', {'g': '15', 'cpu-used': '8'}, {}),
    'VP9, hidden frames': (
        'webm',
        'libvpx-vp9',
        {'auto-alt-ref': '1', 'lag-in-frames': '16', 'cpu-used': '8', 'b': '100k'},
        {},
    ),
    'AV1': ('mp4', 'libsvtav1', {'preset': '12', 'svtav1-params': 'lp=1'}, {}),
    'MPEG-4': ('mp4', 'mpeg4', {'bf': '2'}, {}),
    'MPEG-4 in AVI': ('avi', 'mpeg4', {'bf': '2'}, {}),
    'MPEG-2': ('mpg', 'mpeg2video', {'bf': '2'}, {}),
}


def picture(number):
    """Draw a moving texture with the number's eight bits as blocks of 16 pixels."""
    height, width = SIZE
    row, column = np.mgrid[:height, :width]
    waves = [np.sin((row * a + column * b + number * 5) / 9) for a, b in _DIRECTIONS]
    image = (128 + 80 * np.stack(waves, -1)).astype(np.uint8)
    for bit in range(8):
        y, x = 16 * (bit // 4), 16 * (bit % 4)
        image[y : y + 16, x : x + 16] = 235 if number >> bit & 1 else 20
    return image


_DIRECTIONS = ((1, 2), (2, -1), (0, 3))


def number_of(image):
    """Read the number back."""
    return sum(
        int(image[16 * (b // 4) + 8, 16 * (b % 4) + 8].mean() > 128) << b
        for b in range(8)
    )


def write(
    path, encoder, options={}, muxer={}, frames=60, times=None, shift=0, types=''
):
    """Write a video; returns its path.

    ``times`` are in units of 1 / 90001 s, ``shift`` in frames, ``types`` are those of
    the first pictures (I, P or B).
    """
    with av.open(str(path), 'w', options=muxer) as container:
        stream = container.add_stream(encoder, rate=25, options=options)
        stream.height, stream.width = SIZE
        stream.pix_fmt = 'yuv420p'
        context = stream.codec_context
        context.thread_count = 1
        if times is not None:
            context.time_base = stream.time_base = Fraction(1, 90001)

        def mux(packets):
            for packet in packets:
                step = int(1 / (25 * packet.time_base))
                packet.pts -= shift * step
                packet.dts -= shift * step
                container.mux(packet)

        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(i), format='rgb24')
            if times is not None:
                frame.pts, frame.time_base = int(times[i]), Fraction(1, 90001)
            if i < len(types):
                frame.pict_type = PictureType[types[i]]
            mux(stream.encode(frame))
        mux(stream.encode())
    return str(path)


def remux(source, target, change=None, title=None, extradata=None):
    """Copy a video's packets after ``change(number, packet)``; returns the path."""
    with av.open(source) as old, av.open(str(target), 'w') as new:
        if title is not None:
            new.metadata['title'] = title
        stream = new.add_stream_from_template(old.streams.video[0])
        if extradata is not None:
            stream.codec_context.extradata = extradata
        for number, packet in enumerate(old.demux(video=0)):
            if packet.size:
                if change is not None:
                    change(number, packet)
                packet.stream = stream
                new.mux(packet)
    return str(target)


def turn(path, quarters):
    """Have an MP4 file state a rotation, in quarter turns, clockwise."""

    def matrix(cos, sin):
        numbers = (cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30)
        return struct.pack('>9i', *numbers)

    content = Path(path).read_bytes()
    start = content.index(matrix(1, 0), content.index(b'tkhd'))
    turned = matrix(*((1, 0), (0, 1), (-1, 0), (0, -1))[quarters])
    Path(path).write_bytes(content[:start] + turned + content[start + len(turned) :])
