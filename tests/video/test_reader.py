import re

import av
import decord
import numpy as np
import pytest
from av.video.frame import PictureType

from projects.adamae.video import bitstream
from projects.adamae.video import reader as reader_module
from projects.adamae.video.reader import VideoReader
from tests import numbered_videos
from tests.numbered_videos import FORMATS, number_of, picture, turn, write

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


def with_end(parameters, end, monkeypatch):
    """Give a sequence parameter set another end, from its VUI flag on, as bits."""
    places = []

    def note(bits):
        places.append((bits._bits, bits._place - 1))

    with monkeypatch.context() as patch:
        patch.setattr(bitstream, '_reordering_of_vui', note)
        bitstream._reordering(parameters)
    bits, place = places[0]
    return parameters[:1] + to_bytes(bits[:place] + end)


def to_bytes(bits):
    bits += '1'
    bits += '0' * (-len(bits) % 8)
    content = int(bits, 2).to_bytes(len(bits) // 8, 'big')
    return re.sub(rb'\0\0(?=[\0-\3])', b'\0\0\3', content)


def golomb(*values):
    return ''.join('0' * (len(f'{v + 1:b}') - 1) + f'{v + 1:b}' for v in values)


def vui(reordering, before='00000000'):
    """Write that there is a VUI, and one that states a depth of reordering."""
    return f'1{before}11' + golomb(0, 0, 9, 9, reordering, 16)


def write_late_pyramid(folder, monkeypatch, end=None, first='PB', stored=True):
    """Write 90 frames, from number 60 on with more reordering than before.

    ``end`` is for :func:`with_end`, ``first`` are the types of the first 60 frames in
    turn; ``stored`` says whether presentation times are, or those of decoding twice.
    """
    encoded, path = str(folder / 'encoded.mkv'), str(folder / 'late.mkv')
    params = 'bframes=7:b-adapt=0:b-pyramid=normal:scenecut=0'
    with av.open(encoded, 'w') as container:
        stream = container.add_stream(
            'libx264', rate=25, options={'x264-params': params}
        )
        stream.height, stream.width = numbered_videos.SIZE
        stream.codec_context.thread_count = 1
        for i in range(90):
            frame = av.VideoFrame.from_ndarray(picture(i), format='rgb24')
            if i < 60:
                frame.pict_type = PictureType[first[i % len(first)]]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(encoded) as source, av.open(path, 'w') as target:
        old = source.streams.video[0]
        stream = target.add_stream_from_template(old)
        if end is not None:
            extradata = bytes(old.codec_context.extradata)
            unit = next(bitstream._parameter_sets(extradata))
            changed = with_end(unit, end, monkeypatch)
            size = len(changed).to_bytes(2, 'big')
            rest = extradata[8 + len(unit) :]
            stream.codec_context.extradata = extradata[:6] + size + changed + rest
        for number, packet in enumerate(source.demux(old)):
            if packet.size:
                packet.stream = stream
                if not stored:
                    packet.pts = packet.dts = number * 40  # ms
                target.mux(packet)
    return path


# FFmpeg sees by one in the beginning; later it is by two.
@pytest.mark.parametrize(
    ('end', 'whole'),
    [(None, True), (vui(2), True), (vui(1), False), ('0', False)],
    ids=['as encoded', 'stated', 'stated too low', 'not stated'],
)
def test_reordering_that_grows_on_the_way(tmp_path, monkeypatch, end, whole):
    path = write_late_pyramid(tmp_path, monkeypatch, end)
    reference = plain(path)
    assert (len(reference) == 90) == whole  # what comes too late, FFmpeg drops
    with av.open(path) as container:
        extradata = bytes(container.streams.video[0].codec_context.extradata)
    assert (bitstream.stated_reordering(extradata) == 2) == whole
    assert_exact(path, reference, indexed=whole)


def test_late_reordering_that_the_times_hide(tmp_path, monkeypatch):
    path = write_late_pyramid(tmp_path, monkeypatch, '0', first='P', stored=False)
    assert_exact(path, plain(path), indexed=False)


def test_times_that_reach_across_a_clean_start_are_not_believed(tmp_path):
    """FFmpeg puts nothing from behind it before it."""
    good, bad = write(tmp_path / 'good.mkv', 'libx264', {'g': '2'}), tmp_path / 'a.mkv'
    with av.open(good) as source, av.open(str(bad), 'w') as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                packet.pts = (number ^ 2) * 40 + 80  # ms; pairs change places
                packet.dts, packet.stream = number, stream
                target.mux(packet)
    reference = plain(str(bad))
    assert [number_of(image) for image in reference] == list(range(60))
    assert_exact(str(bad), reference, indexed=False)


def test_depth_of_reordering():
    order = [0, 3, 2, 4, 1]  # 1, 2 and 3 are decoded before 4, and 1 is shown after it
    assert reader_module._reordering(order) == 2
    assert reader_module._reordering(range(9)) == 0
    assert reader_module._reordering([]) == 0


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
    monkeypatch.setattr('tests.numbered_videos.SIZE', (66, 98))
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


@pytest.mark.parametrize('suffix', ['avi', 'mp4', 'mkv'])
def test_title_that_is_no_utf8(tmp_path, suffix):
    path = tmp_path / f'a.{suffix}'
    encoder = 'mpeg4' if suffix == 'avi' else 'libx264'
    source = write(tmp_path / f'b.{suffix}', encoder, frames=10)
    with av.open(source) as old, av.open(str(path), 'w') as new:
        new.metadata['title'] = 'Fußball'
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    content = path.read_bytes()
    assert 'Fußball'.encode() in content
    path.write_bytes(content.replace('Fußball'.encode(), b'Fu\xdfball '))
    frames = VideoReader(str(path)).get_frames([0, 9])
    assert [number_of(frame) for frame in frames] == [0, 9]


def test_codec_without_decoder(tmp_path):
    path = tmp_path / 'a.mp4'
    write(path, 'libx264', frames=5)
    path.write_bytes(path.read_bytes().replace(b'avc1', b'none'))
    with pytest.raises(OSError, match=r'a\.mp4: .* no decoder for its codec'):
        VideoReader(str(path))


def test_whatever_pyav_raises_names_the_file(tmp_path, monkeypatch):
    path = write(tmp_path / 'a.mp4', 'libx264', frames=5)
    reader = VideoReader(path)

    def fail(*_, **__):
        raise ValueError('conversion')

    monkeypatch.setattr(reader_module, '_to_rgb', fail)
    with pytest.raises(OSError, match=r'a\.mp4: .*got: ValueError: conversion'):
        reader.get_frames([0])
    monkeypatch.setattr(av, 'open', fail)
    with pytest.raises(OSError, match=r'a\.mp4: .*got: ValueError: conversion'):
        VideoReader(path)


def parameters(profile=77, middle='', order='11', end='0'):
    """Write a sequence parameter set."""
    begin = f'{profile:08b}' + '0' * 8 + f'{30:08b}' + golomb(0) + middle + golomb(0)
    # Reference frames, gaps, size in macroblocks, frames only, inference, no cropping.
    size = golomb(4) + '0' + golomb(5, 3) + '110'
    return b'\x67' + to_bytes(begin + order + size + end)


def record(*units):
    """Write an avcC record."""
    sets = b''.join(len(unit).to_bytes(2, 'big') + unit for unit in units)
    return b'\1\x64\0\x1e\xff' + bytes([0xE0 | len(units)]) + sets


HRD = '1' + golomb(1) + '0' * 8 + (golomb(70000, 90000) + '1') * 2 + '01' * 10
# One list as a whole, one that ends after two values (8 + 5 - 13 = 0), and six times
# none.
LISTS = '1' + golomb(1) + golomb(0) * 15 + '1' + golomb(9, 26) + '0' * 6


@pytest.mark.parametrize(
    'unit',
    [
        parameters(end=vui(3)),
        parameters(100, golomb(1, 0, 0) + '00', end=vui(3)),
        parameters(110, golomb(1, 2, 2) + '01' + LISTS, end=vui(3)),
        parameters(244, golomb(3) + '0' + golomb(0, 0) + '01' + '0' * 12, end=vui(3)),
        parameters(66, order=golomb(1) + '1' + golomb(7, 8, 2, 5, 6), end=vui(3)),
        parameters(order=golomb(2), end=vui(3)),
        parameters(
            end=vui(
                3,
                # Aspect ratio 7 to 5; overscan; signal and colours; chroma; timing.
                f'1{255:08b}{7:016b}{5:016b}11' + f'1{5:03b}11' + '01' * 12
                # Two hypothetical decoders, low_delay_hrd_flag, pic_struct.
                + '1' + golomb(2, 2) + f'1{1:032b}{50:032b}1' + HRD + HRD + '00',
            )
        ),
    ],
    ids=['main', 'high', 'lists', '4:4:4', 'order 1', 'order 2', 'whole VUI'],
)  # fmt: skip
def test_stated_reordering(unit):
    assert bitstream.stated_reordering(record(unit)) == 3
    assert bitstream.stated_reordering(b'\0\0\0\1' + unit + b'\0\0\1\x68\xce') == 3
    for length in range(len(unit)):  # cut off
        assert bitstream.stated_reordering(record(unit[:length])) is None


def test_reordering_that_is_not_stated():
    stated, unstated = parameters(end=vui(2)), parameters()
    without = parameters(end='1' + '0' * 9)
    for extradata in (
        b'',
        b'\1',
        record(),
        record(unstated),
        record(without),
        record(stated, unstated),
        record(stated, b''),
        record(stated)[:-1],
        record(parameters(end=vui(17))),
        record(parameters(139, end=vui(2))),
        record(b'\x68' + stated[1:]),
        record(b'\x67' + bytes(50)),
        b'\0\0\1' + stated + b'\0\0\1' + unstated,
    ):
        assert bitstream.stated_reordering(extradata) is None
    assert bitstream.stated_reordering(record(stated, parameters(end=vui(1)))) == 1


def test_packets_of_two_fields_or_none_are_not_numbered():
    describe = bitstream.describer('h264', b'')
    idr, slice_, rest = b'\0\0\1\x65\x88', b'\0\0\1\x41\x9a', b'\0\0\1\x41\x40'
    assert describe(b'\0\0\1\x09\x10' + idr) is bitstream.Picture.CLEAN_START
    assert describe(slice_ + rest) is bitstream.Picture.OTHER
    assert describe(slice_ + slice_) is None  # two fields
    for first in (b'\xa8', b'\x9c'):  # slice_type 1 and 6
        assert describe(b'\0\0\1\x01' + first) is bitstream.Picture.BIPREDICTED
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
