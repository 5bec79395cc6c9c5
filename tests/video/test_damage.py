"""Videos that FFmpeg decodes without an error, and that are not what they should be."""

import io
import pickle
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from projects.adamae.video import reader
from projects.adamae.video.error import VideoError
from projects.adamae.video.reader import VideoReader
from tests import numbered_videos
from tests.numbered_videos import remux, write

VP9 = 'libvpx-vp9', {'g': '20', 'cpu-used': '8'}
FAST = {'movflags': 'faststart'}
FRAGMENTS = {'movflags': 'frag_keyframe+empty_moov'}
CUES = {'cues_to_front': '1', 'reserve_index_space': '500'}
#: name: (suffix, encoder, its options), the muxer's options
KINDS = {
    'WebM': ('webm', *VP9, {}),
    'WebM, cues in front': ('webm', *VP9, CUES),
    'Matroska': ('mkv', 'libx264', {}, {}),
    'MP4': ('mp4', 'libx264', {}, {}),
    'MP4, index in front': ('mp4', 'libx264', {}, FAST),
    'MP4, fragments': ('mp4', 'libx264', {'g': '15'}, FRAGMENTS),
    'AVI': ('avi', 'mpeg4', {}, {}),
}
UNSTATED = {
    'live WebM': ('webm', *VP9, {'live': '1'}),
    'transport stream': ('ts', 'libx264', {}, {}),
}


def read_all(content, name='a video', **kwargs):
    video = VideoReader(io.BytesIO(content), name, **kwargs)
    video.check()
    return video.get_frames(range(len(video)))


def make(folder, kind, **kwargs):
    suffix, encoder, options, muxer = (KINDS | UNSTATED)[kind]
    path = folder / f'a.{suffix}'
    write(path, encoder, options, muxer, **kwargs)
    return path.read_bytes()


@pytest.mark.parametrize('kind', KINDS)
def test_a_video_that_ends_before_its_header_says(tmp_path, kind):
    content = make(tmp_path, kind)
    assert len(read_all(content)) == 60
    for part in (0.3, 0.6, 0.85):
        with pytest.raises(VideoError, match='a video: truncated: .*get it') as error:
            VideoReader(io.BytesIO(content[: int(part * len(content))]), 'a video')
        assert error.value.kind == 'truncated'
        assert pickle.loads(pickle.dumps(error.value)).kind == 'truncated'


@pytest.mark.parametrize('kind', UNSTATED)
def test_whole_videos_that_state_no_length(tmp_path, kind):
    assert len(read_all(make(tmp_path, kind))) == 60


@pytest.mark.parametrize('kind', ['WebM', 'Matroska', 'MP4', 'MP4, fragments'])
def test_whole_videos_of_variable_rates(tmp_path, kind):
    times = np.cumsum(np.random.default_rng(0).integers(1500, 90_000, size=30))
    assert len(read_all(make(tmp_path, kind, frames=30, times=times))) == 30


@pytest.mark.parametrize('kind', ['WebM', 'Matroska', 'MP4'])
def test_a_last_frame_that_is_shown_long(tmp_path, kind):
    """WebM states how long in the length of the file only."""

    def hold(number, packet):
        if number == 59:
            packet.duration = int(10 / packet.time_base)

    make(tmp_path, kind)
    suffix = KINDS[kind][0]
    path = remux(str(tmp_path / f'a.{suffix}'), tmp_path / f'b.{suffix}', hold)
    content = Path(path).read_bytes()
    assert len(read_all(content)) == 60
    if kind == 'WebM':
        reserved = content[: len(content) // 2].ljust(len(content), b'\0')
        with pytest.raises(VideoError, match='truncated: expected 12'):
            read_all(reserved)


@pytest.mark.parametrize('suffix', ['mkv', 'mp4', 'webm'])
@pytest.mark.parametrize('tagged', [True, False])
def test_sound_that_is_longer_than_the_pictures(tmp_path, suffix, tagged):
    path = tmp_path / f'a.{suffix}'
    with av.open(str(path), 'w') as container:
        encoder = 'libvpx' if suffix == 'webm' else 'mpeg4'
        stream = container.add_stream(encoder, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, 'yuv420p'
        sound = container.add_stream('libopus', rate=48000)
        for i in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 * i, np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for i in range(150):
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 1920), np.int16), format='s16', layout='stereo'
            )
            frame.rate, frame.pts = 48000, i * 960
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    content = path.read_bytes()
    if not tagged:
        content = content.replace(b'DURATION', b'SOMETIME')
    assert len(read_all(content)) == 10


def test_parts_that_ffmpeg_makes_up_are_an_error(tmp_path):
    """No frame comes of a file in whose decoding it has marked one."""
    content, rng = make(tmp_path, 'Matroska'), np.random.default_rng(0)
    made_up = 0
    for _ in range(20):
        damaged = bytearray(content)
        damaged[rng.integers(2000, len(content))] ^= int(rng.integers(1, 256))
        with av.open(io.BytesIO(damaged)) as container:
            stream = container.streams.video[0]
            stream.thread_type = 'NONE'
            stream.codec_context.options = reader._MAX_REORDER_DELAY
            try:
                marked = any(frame.is_corrupt for frame in container.decode(stream))
            except av.FFmpegError:
                continue
        if marked:
            made_up += 1
            with pytest.raises(VideoError, match='damaged: FFmpeg made up') as error:
                read_all(damaged)
            assert error.value.kind == 'damaged'
    assert made_up > 3


@pytest.mark.skipif(
    reader._VP9_DECODER not in av.codecs_available, reason='no libvpx here'
)
def test_most_damage_of_vp9_is_found(tmp_path):
    """FFmpeg's own decoder finds hardly any."""
    content, rng = make(tmp_path, 'WebM'), np.random.default_rng(0)
    whole, wrong = read_all(content), 0
    for _ in range(20):
        damaged = bytearray(content)
        damaged[rng.integers(1000, len(content) - 200)] ^= int(rng.integers(1, 256))
        try:
            wrong += not np.array_equal(read_all(damaged), whole)
        except VideoError:
            continue
    assert wrong <= 4


def test_a_size_that_changes_on_the_way(tmp_path, monkeypatch):
    write(tmp_path / 'a.ts', 'mpeg2video')
    monkeypatch.setattr(numbered_videos, 'SIZE', (96, 128))
    write(tmp_path / 'b.ts', 'mpeg2video')
    content = (tmp_path / 'a.ts').read_bytes() + (tmp_path / 'b.ts').read_bytes()
    with pytest.raises(VideoError, match='one size, got 96x64 and 128x96') as error:
        read_all(content)
    assert error.value.kind == 'changing size'


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'GIF', 'BMP', 'WEBP'])
def test_a_picture_is_no_video(kind):
    file = io.BytesIO()
    Image.new('RGB', (32, 32)).save(file, kind)
    with pytest.raises(
        VideoError, match='a.mp4: expected a video, got a pict'
    ) as error:
        VideoReader(file, 'a.mp4')
    assert error.value.kind == 'picture'
    if kind == 'GIF':
        assert len(VideoReader(file, 'a.GIF')) == 1


def test_a_list_of_other_files_is_not_followed(tmp_path):
    path = write(tmp_path / 'b.ts', 'mpeg2video', frames=3)
    for name in (path, f'file:{path}'):
        content = f'ffconcat version 1.0\nfile {name}\n'.encode()
        with pytest.raises(VideoError, match='a video: expected a readable video'):
            VideoReader(io.BytesIO(content), 'a video')


@pytest.mark.parametrize('kind', ['MP4', 'AVI'])
def test_too_slow_is_an_error(tmp_path, kind):
    content = make(tmp_path, kind)
    message = 'a video: expected frames within 0 s of processor time; transcode'
    with pytest.raises(VideoError, match=message) as error:
        read_all(content, time_limit=0)
    assert error.value.kind == 'too slow'
    video = VideoReader(io.BytesIO(content), 'a video')
    video.time_limit = 0
    if video.indexed:
        with pytest.raises(VideoError, match=message):
            video.get_frames([3])
