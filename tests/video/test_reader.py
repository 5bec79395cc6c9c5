"""Tests of VideoReader against plain decoding, decord and numbers in the pixels."""

import errno
import io
import re

import av
import decord
import numpy as np
import pytest

from projects.adamae.video import bitstream, reader
from projects.adamae.video.error import VideoError
from projects.adamae.video.folder import find_unreadable
from projects.adamae.video.reader import VideoReader
from tests.numbered_videos import FORMATS, number_of, remux, turn, write

# How it must be read: by index, or by counting from the beginning.
COUNTED = {
    'interlaced',
    'transport stream',
    'H.264 in AVI',
    'HEVC',
    'AV1',
    'MPEG-4',
    'MPEG-4 in AVI',
    'MPEG-2',
}
PYRAMID = {'x264-params': 'bframes=7:b-adapt=0:b-pyramid=normal:scenecut=0'}
VARIABLE = np.cumsum(np.random.default_rng(0).integers(1500, 9000, size=60))
# decord 0.6.0 drops the beginning of the one, has no decoder for the other.
NOT_WITH_DECORD = {'transport stream', 'AV1'}


def plain(path, options={}):
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = 'NONE'
        stream.codec_context.options = options
        return [f.to_ndarray(format='rgb24') for f in container.decode(stream)]


def numbers(images):
    return [number_of(image) for image in images]


def make(folder, name):
    suffix, encoder, options, muxer = FORMATS[name]
    if encoder not in av.codecs_available:
        pytest.skip(f'FFmpeg has no {encoder} here')
    return write(folder / f'{name}.{suffix}', encoder, options, muxer)


def assert_exact(path, reference, indexed, fresh_step=15):
    """Compare whole clips, and many random sets of a few frames."""
    rng = np.random.default_rng(0)
    total = len(reference)
    picks = [range(total), range(3, total, 4), range(total - 1, 0, -5)]
    picks += [[0], [total - 1]]
    picks += [rng.integers(total, size=rng.integers(1, 7)) for _ in range(20)]
    reader = VideoReader(path)
    assert len(reader) == total
    for pick in picks:
        assert np.array_equal(reader.get_frames(pick), [reference[i] for i in pick])
    assert reader.indexed == indexed
    # Fresh ones, that have no frames behind them and have not given up their index.
    for i in range(1, total, fresh_step):
        assert np.array_equal(VideoReader(path).get_frames([i])[0], reference[i])


@pytest.mark.parametrize('name', FORMATS)
def test_frames_are_those_of_plain_decoding(tmp_path, name):
    path = make(tmp_path, name)
    reference = plain(path)
    assert numbers(reference) == list(range(60))
    assert_exact(path, reference, name not in COUNTED)
    if name not in NOT_WITH_DECORD:
        frames = decord.VideoReader(path, num_threads=1).get_batch(range(60)).asnumpy()
        assert numbers(frames) == list(range(60))


@pytest.mark.parametrize(
    ('suffix', 'gop', 'times', 'first'),
    [
        ('mp4', '25', dict(times=VARIABLE), 0),
        ('mkv', '25', dict(times=VARIABLE), 0),
        ('mp4', '12', dict(shift=20), 20),
        ('mp4', '250', dict(shift=20), 20),
    ],
)
def test_variable_rates_and_edit_lists(tmp_path, suffix, gop, times, first):
    """The edit lists hide the first frames, and begin between two key frames."""
    path = write(tmp_path / f'a.{suffix}', 'libx264', {'g': gop}, **times)
    reference = plain(path)
    assert numbers(reference) == list(range(first, 60))
    assert_exact(path, reference, indexed=True)


@pytest.mark.parametrize(
    ('options', 'types', 'times', 'fresh_step'),
    [
        # Some muxers store no presentation times: what looks like frame 1 is not.
        ({}, '', lambda number, pts: number * 40, 1),
        # There is no B picture where FFmpeg looks for them.
        (PYRAMID, 'P' * 40, lambda number, pts: number * 40, 1),
        # Nothing is shown before what comes before a random access point.
        (
            PYRAMID | {'g': '10'},
            '',
            lambda number, pts: pts + 400 * ((number // 10 ^ 1) - number // 10),
            1,
        ),
        (PYRAMID, '', lambda number, pts: 360 if pts == 400 else pts, 1),
        # Found while decoding, if both frames are.
        (PYRAMID, '', lambda number, pts: {400: 440, 440: 400}.get(pts, pts), 60),
    ],
    ids=['decoding', 'no B pictures', 'swapped groups', 'equal', 'swapped'],
)
def test_wrong_times_are_not_believed(tmp_path, options, types, times, fresh_step):
    def change(number, packet):
        packet.pts, packet.dts = times(number, packet.pts) + 1000, number  # ms

    good = write(tmp_path / 'good.mkv', 'libx264', options, types=types)
    bad = remux(good, tmp_path / 'bad.mkv', change)
    reference = plain(bad, reader._MAX_REORDER_DELAY)
    assert numbers(reference) == list(range(60))
    assert_exact(bad, reference, indexed=False, fresh_step=fresh_step)


# How x264 ends its parameter set: with restrictions, the last but one of which is a
# reorder delay of 2 frames (sec. E.1.1: bitstream_restriction_flag to the stop bit).
STATED = r'1(111(?:0001...){2})011(0.*1)(0*)$'


@pytest.mark.parametrize(
    ('replacement', 'by_default'),
    [(None, 90), (r'1\g<1>010\2\3', 79), ('01', 87)],
    ids=['stated', 'stated too low', 'not stated'],
)
def test_reorder_delay_that_grows_on_the_way(tmp_path, replacement, by_default):
    """It is 1 frame in the beginning; FFmpeg drops what then comes too late."""
    path = write(tmp_path / 'a.mkv', 'libx264', PYRAMID, frames=90, types='PB' * 30)
    if replacement is not None:
        with av.open(path) as container:
            extradata = bytes(container.streams.video[0].codec_context.extradata)
        end = 8 + int.from_bytes(extradata[6:8], 'big')
        bits = ''.join(f'{byte:08b}' for byte in extradata[8:end])
        changed = re.sub(STATED, replacement, bits)
        assert changed != bits
        changed = int(changed.ljust(len(bits), '0'), 2).to_bytes(end - 8, 'big')
        extradata = extradata[:8] + changed + extradata[end:]
        path = remux(path, tmp_path / 'b.mkv', extradata=extradata)
    assert len(plain(path)) == by_default
    reference = plain(path, reader._MAX_REORDER_DELAY)
    assert numbers(reference) == list(range(90))
    assert_exact(path, reference, indexed=True)


def test_parameters_that_change_on_the_way(tmp_path):
    """Joined without encoding anew: the second half has other chroma quantizers."""
    joined = b''
    for psy in (1, 0):
        options = {'g': '10', 'x264-params': f'psy={psy}'}
        part = write(tmp_path / 'part.ts', 'libx264', options, frames=30)
        joined += (tmp_path / 'part.ts').read_bytes()
    (tmp_path / 'part.ts').write_bytes(joined)

    def continue_times(number, packet):
        if number >= 30:
            packet.pts += round(30 / 25 / packet.time_base)
            packet.dts += round(30 / 25 / packet.time_base)

    path = remux(part, tmp_path / 'joined.mkv', continue_times)
    reference = plain(path)
    assert len(reference) == 60
    assert_exact(path, reference, indexed=False)


@pytest.mark.parametrize('quarters', [1, 2, 3])
def test_stated_rotation_is_applied(tmp_path, quarters):
    path = write(tmp_path / 'a.mp4', 'libx264', frames=5)
    stored = VideoReader(path).get_frames([2])[0]
    turn(path, quarters)
    rotated = VideoReader(path).get_frames([2])[0]
    assert np.array_equal(rotated, np.rot90(stored, -quarters))
    assert rotated.flags.c_contiguous
    # Two builds of FFmpeg may round colors differently.
    theirs = decord.VideoReader(path)[2].asnumpy()
    assert np.abs(np.subtract(rotated, theirs, dtype=np.int16)).max() <= 2


def test_most_unreferenced_frames_are_not_decoded(tmp_path):
    reader = VideoReader(make(tmp_path, 'deep pyramid'))
    context, decoded = reader._context, []

    class Counting:
        name = context.name
        skip_frame = 'DEFAULT'

        def decode(self, packet):
            context.skip_frame = self.skip_frame
            decoded.extend(frames := context.decode(packet))
            return frames

        def flush_buffers(self):
            context.flush_buffers()

    reader._context = Counting()
    assert reader.decode([3, 50, 3]).keys() == {3, 50}
    assert len(decoded) < 35  # of more than 50


def test_frames_share_no_memory(tmp_path):
    first, second, third = VideoReader(make(tmp_path, 'VP9')).get_frames([7, 7, 8])
    assert np.array_equal(first, second)
    first[:] = 0
    assert second.any() and third.any()


def test_odd_size_and_a_file_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr('tests.numbered_videos.SIZE', (66, 98))
    path = write(tmp_path / 'a:b.mp4', 'libx264', frames=20)
    reference = plain(f'file:{path}')
    with open(path, 'rb') as file:
        frames = VideoReader(file, 'a name').get_frames([3, 19])
    assert np.array_equal(frames, [reference[3], reference[19]])
    assert VideoReader(path).fps == 25


def test_damaged_matroska_is_an_error_or_as_in_plain_decoding(tmp_path):
    path = tmp_path / 'a.mkv'
    write(path, 'libx264', {'g': '20'})
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(10):
        damaged = bytearray(content)
        for position in rng.integers(1000, len(content), 3):
            damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            video = VideoReader(str(path))
            frames = video.get_frames(range(0, len(video), 7))
            reference = plain(str(path), reader._MAX_REORDER_DELAY)
        except (VideoError, av.FFmpegError):  # plain decoding skips nothing
            continue
        assert np.array_equal(frames, reference[::7])


@pytest.mark.parametrize('suffix', ['avi', 'mp4', 'mkv'])
def test_title_that_is_no_utf8(tmp_path, suffix):
    encoder = 'mpeg4' if suffix == 'avi' else 'libx264'
    source = write(tmp_path / f'b.{suffix}', encoder, frames=10)
    path = tmp_path / f'a.{suffix}'
    content = remux(source, path, title='Fußball') and path.read_bytes()
    assert 'Fußball'.encode() in content
    path.write_bytes(content.replace('Fußball'.encode(), b'Fu\xdfball '))
    assert numbers(VideoReader(str(path)).get_frames([0, 9])) == [0, 9]
    assert find_unreadable([str(path)]) == []


@pytest.mark.parametrize(
    ('muxer', 'damage', 'message'),
    [
        ({}, lambda c: b'no video at all' * 100, 'Invalid data'),
        ({}, lambda c: c.replace(b'avc1', b'none'), 'FFmpeg has no decoder'),
        ({}, lambda c: c.replace(b'vide', b'soun'), 'no video stream'),
    ],
    ids=['text', 'unknown codec', 'sound'],
)
def test_damaged_files(tmp_path, muxer, damage, message):
    path = tmp_path / 'a.mp4'
    write(path, 'libx264', muxer=muxer)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(VideoError, match=rf'a\.mp4: .* readable video, got: {message}'):
        VideoReader(str(path))


def test_what_is_not_there(tmp_path):
    with pytest.raises(VideoError, match='nowhere.mp4: .*No such file'):
        VideoReader(str(tmp_path / 'nowhere.mp4'))
    video = VideoReader(write(tmp_path / 'a.mp4', 'libx264', frames=10))
    with pytest.raises(IndexError, match=r'a\.mp4: expected frames 0 to 9, got 10'):
        video.get_frames([3, 10])


@pytest.mark.parametrize('kind', [ValueError, TypeError, AttributeError])
def test_only_what_pyav_raises_is_blamed_on_the_video(tmp_path, monkeypatch, kind):
    def fail(*_, **__):
        raise kind('sizes')

    path = write(tmp_path / 'a.mp4', 'libx264', frames=5)
    video = VideoReader(path)
    monkeypatch.setattr(bitstream, 'packet_parser', fail)
    with pytest.raises(kind, match='^sizes$'):
        VideoReader(path)
    monkeypatch.setattr(VideoReader, '_decode_indexed', fail)
    with pytest.raises(kind, match='^sizes$'):
        video.get_frames([0])
    # A type that PyAV raises itself, from its own call; the others are our mistakes.
    monkeypatch.setattr(av, 'open', fail)
    by_pyav = (VideoError, 'a.mp4.*: sizes') if kind is ValueError else (kind, '^sizes')
    with pytest.raises(by_pyav[0], match=by_pyav[1]):
        VideoReader(path)


def test_a_disk_that_fails_is_not_blamed_on_the_video():
    """FFmpeg itself says EIO of damaged files, too: that alone tells nothing."""

    class Failing(io.BytesIO):
        def read(self, size=-1):
            raise OSError(errno.EIO, 'a lost mount')

    with pytest.raises(OSError, match='a lost mount') as error:
        VideoReader(Failing(b'0' * 1000))
    assert not isinstance(error.value, av.FFmpegError)


def test_packets_of_two_fields_or_none_are_not_numbered():
    parse = bitstream.packet_parser('h264', b'')
    idr, slice_, rest = b'\0\0\1\x65\x88', b'\0\0\1\x41\x9a', b'\0\0\1\x41\x40'
    assert parse(b'\0\0\1\x09\x10' + idr) is bitstream.Picture.RANDOM_ACCESS_POINT
    assert parse(slice_ + rest) is bitstream.Picture.OTHER
    assert parse(slice_ + slice_) is None  # two fields
    for first in (b'\xa8', b'\x9c'):  # slice_type 1 and 6
        assert parse(b'\0\0\1\x01' + first) is bitstream.Picture.BIPREDICTED
    assert parse(b'\0\0\1\x06\x01\x02') is None  # no picture
    other = b'\0\0\1\x68\x01'  # parameters that the container does not have
    assert parse(other + idr) is None
    assert bitstream.packet_parser('h264', other)(other + idr) is not None
    with_lengths = bitstream.packet_parser('h264', b'\1\x64\0\x0a\xff')
    assert with_lengths(b'\0\0\0\2\x65\x88') is bitstream.Picture.RANDOM_ACCESS_POINT
    assert with_lengths(b'\0\0\0\x09\x65\x88') is None  # longer than the packet


def test_vp9_packets_show_one_frame():
    parse = bitstream.packet_parser('vp9', b'')
    key, hidden, shown = b'\x82\x00', b'\x84\x00', b'\x86\x00'
    index = b'\xc1\x02\x02\xc1'
    assert parse(key) is bitstream.Picture.RANDOM_ACCESS_POINT
    assert parse(shown) is bitstream.Picture.OTHER
    assert parse(hidden) is None and parse(b'') is None
    assert parse(hidden + shown + index) is bitstream.Picture.OTHER
    assert parse(shown + shown + index) is None
    assert parse(b'\x02') is None
