import re

import av
import decord
import numpy as np
import pytest
from numbered_videos import FORMATS, number_of, turn, write

from projects.adamae.video import bitstream
from projects.adamae.video.reader import VideoReader

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
# decord 0.6.0 drops the beginning of the one, has no decoder for the other.
NOT_WITH_DECORD = {'transport stream', 'AV1'}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('videos')


def plain(path):
    with av.open(path) as container:
        container.streams.video[0].thread_type = 'NONE'
        return [f.to_ndarray(format='rgb24') for f in container.decode(video=0)]


def make(folder, name):
    suffix, encoder, options, muxer = FORMATS[name]
    if encoder not in av.codecs_available:
        pytest.skip(f'FFmpeg has no {encoder} here')
    return write(folder / f'{name}.{suffix}', encoder, options, muxer)


def assert_exact(path, reference, indexed):
    """Compare whole clips, and many random sets of a few frames."""
    rng = np.random.default_rng(0)
    total = len(reference)
    picks = [
        range(total),
        range(3, total, 4),
        range(total - 1, 0, -5),
        [0],
        [total - 1],
    ]
    picks += [rng.integers(total, size=rng.integers(1, 7)) for _ in range(20)]
    reader = VideoReader(path)
    assert len(reader) == total
    for pick in picks:
        frames = reader.get_frames(pick)
        assert all(
            np.array_equal(frame, reference[i])
            for frame, i in zip(frames, pick, strict=True)
        )
    assert reader.indexed == indexed
    # A fresh one, that has no frames behind it.
    assert np.array_equal(
        VideoReader(path).get_frames([total // 2])[0], reference[total // 2]
    )


@pytest.mark.parametrize('name', FORMATS)
def test_frames_are_those_of_plain_decoding(folder, name):
    path = make(folder, name)
    reference = plain(path)
    assert [number_of(image) for image in reference] == list(range(60))
    assert_exact(path, reference, name not in COUNTED)
    if name not in NOT_WITH_DECORD:
        frames = decord.VideoReader(path, num_threads=1).get_batch(range(60)).asnumpy()
        assert [number_of(image) for image in frames] == list(range(60))


@pytest.mark.parametrize('suffix', ['mp4', 'mkv'])
def test_variable_frame_rate_and_odd_time_base(tmp_path, suffix):
    times = np.cumsum(np.random.default_rng(0).integers(1500, 9000, size=60))
    path = write(tmp_path / f'a.{suffix}', 'libx264', {'g': '25'}, times=times)
    reference = plain(path)
    assert [number_of(image) for image in reference] == list(range(60))
    assert_exact(path, reference, indexed=True)


@pytest.mark.parametrize('gop', ['12', '250'])
def test_edit_list_that_begins_between_two_key_frames(tmp_path, gop):
    path = write(tmp_path / 'a.mp4', 'libx264', {'g': gop}, shift=20)
    reference = plain(path)
    assert [number_of(image) for image in reference] == list(range(20, 60))
    assert_exact(path, reference, indexed=True)


def test_times_that_follow_the_order_of_decoding_are_not_believed(tmp_path):
    """Some muxers store no presentation times: what looks like frame 1 is not."""
    good, bad = write(tmp_path / 'good.mp4', 'libx264'), str(tmp_path / 'bad.mp4')
    with av.open(good) as source, av.open(bad, 'w') as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.dts += 2 * packet.duration  # no longer below 0
                packet.pts, packet.stream = packet.dts, stream
                target.mux(packet)
    reference = plain(bad)
    assert [number_of(image) for image in reference] == list(range(60))
    assert_exact(bad, reference, indexed=False)


def test_parameters_that_change_on_the_way(tmp_path):
    """Joined without encoding anew: the second half has other quantisers of colour."""
    joined = str(tmp_path / 'joined.mkv')
    with av.open(joined, 'w') as target:
        stream = None
        for start, psy in ((0, 1), (30, 0)):
            options = {'g': '10', 'x264-params': f'psy={psy}'}
            part = write(tmp_path / f'{psy}.ts', 'libx264', options, frames=30)
            with av.open(part) as source:
                old = source.streams.video[0]
                stream = stream or target.add_stream_from_template(old)
                packets = [packet for packet in source.demux(old) if packet.size]
            first, frame = packets[0].dts, round(1 / (25 * old.time_base))
            for packet in packets:
                content = bytes(packet)
                if packet is not packets[0]:
                    # Only the first packet of a part says how to decode it.
                    units = re.split(b'\0?\0\0\1', content)[1:]
                    kept = [unit for unit in units if unit[0] & 31 not in (7, 8)]
                    content = b''.join(b'\0\0\1' + unit for unit in kept)
                new = av.Packet(content)
                new.dts, new.pts = (
                    t - first + start * frame for t in (packet.dts, packet.pts)
                )
                new.time_base, new.is_keyframe = packet.time_base, packet.is_keyframe
                new.stream = stream
                target.mux(new)
    reference = plain(joined)
    assert len(reference) == 60
    assert_exact(joined, reference, indexed=False)


@pytest.mark.parametrize('quarters', [1, 2, 3])
def test_pictures_on_their_side_are_set_upright(tmp_path, quarters):
    path = write(tmp_path / 'a.mp4', 'libx264', frames=5)
    lying = VideoReader(path).get_frames([2])[0]
    turn(path, quarters)
    upright = VideoReader(path).get_frames([2])[0]
    assert np.array_equal(upright, np.rot90(lying, -quarters))
    assert upright.flags.c_contiguous
    assert np.array_equal(upright, decord.VideoReader(path)[2].asnumpy())


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
    monkeypatch.setattr('numbered_videos.SIZE', (66, 98))
    path = write(tmp_path / 'a:b.mp4', 'libx264', frames=20)
    reference = plain(f'file:{path}')
    with open(path, 'rb') as file:
        frames = VideoReader(file, 'a name').get_frames([3, 19])
    assert all(
        np.array_equal(f, reference[i]) for f, i in zip(frames, (3, 19), strict=True)
    )
    assert VideoReader(path).fps == 25


@pytest.mark.parametrize('options', [{}, {'movflags': 'faststart'}])
def test_truncated_mp4_is_an_error_that_names_it(tmp_path, options):
    path = tmp_path / 'a.mp4'
    write(path, 'libx264', {}, options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(OSError, match=r'a\.mp4: expected a readable video, got: Inv'):
        VideoReader(str(path))


def test_truncated_matroska_gives_what_is_there(tmp_path):
    path = tmp_path / 'a.mkv'
    write(path, 'libx264', {'g': '20'})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    reference = plain(str(path))
    assert 20 < len(reference) < 60
    reader = VideoReader(str(path))
    frames = reader.get_frames(range(len(reader)))
    assert np.array_equal(frames, reference)


def test_flipped_bits_are_concealed_as_in_plain_decoding(tmp_path):
    path = tmp_path / 'a.mkv'
    write(path, 'libx264', {'g': '20'})
    content, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(10):
        damaged = bytearray(content)
        for place in rng.integers(1000, len(content), 3):
            damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            reference = plain(str(path))
        except (av.FFmpegError, OSError):
            continue
        reader = VideoReader(str(path))
        frames = reader.get_frames(range(0, len(reader), 7))
        assert np.array_equal(frames, reference[::7])


def test_errors_name_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.mp4: .*No such file'):
        VideoReader(str(tmp_path / 'nowhere.mp4'))
    (tmp_path / 'text.mp4').write_text('no video at all' * 100)
    with pytest.raises(OSError, match='text.mp4: expected a readable video, got'):
        VideoReader(str(tmp_path / 'text.mp4'))
    with av.open(str(tmp_path / 'sound.mp4'), 'w') as container:
        stream = container.add_stream('aac', rate=8000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), 'fltp', 'mono'
        )
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(OSError, match='sound.mp4: .* no video stream'):
        VideoReader(str(tmp_path / 'sound.mp4'))
    reader = VideoReader(write(tmp_path / 'a.mp4', 'libx264', frames=10))
    with pytest.raises(IndexError, match=r'a\.mp4: expected frames 0 to 9, got 10'):
        reader.get_frames([3, 10])


def test_packets_of_two_fields_or_none_are_not_numbered():
    describe = bitstream.describer('h264', b'')
    idr, slice_, rest = b'\0\0\1\x65\x88', b'\0\0\1\x41\x9a', b'\0\0\1\x41\x40'
    assert describe(b'\0\0\1\x09\x10' + idr) is bitstream.Picture.CLEAN_START
    assert describe(slice_ + rest) is bitstream.Picture.OTHER
    assert describe(slice_ + slice_) is None  # two fields
    assert describe(b'\0\0\1\x06\x01\x02') is None  # no picture
    other = b'\0\0\1\x68\x01'  # parameters that the container does not have
    assert describe(other + idr) is None
    assert bitstream.describer('h264', other)(other + idr) is not None
    with_lengths = bitstream.describer('h264', b'\1\x64\0\x0a\xff')
    assert with_lengths(b'\0\0\0\2\x65\x88') is bitstream.Picture.CLEAN_START
    assert with_lengths(b'\0\0\0\x09\x65\x88') is None  # longer than the packet


def test_vp9_packets_show_one_frame():
    describe = bitstream.describer('vp9', b'')
    key, hidden, shown = b'\x82\x00', b'\x84\x00', b'\x86\x00'
    index = b'\xc1\x02\x02\xc1'
    assert describe(key) is bitstream.Picture.CLEAN_START
    assert describe(shown) is bitstream.Picture.OTHER
    assert describe(hidden) is None and describe(b'') is None
    assert describe(hidden + shown + index) is bitstream.Picture.OTHER
    assert describe(shown + shown + index) is None
    assert describe(b'\x02') is None
