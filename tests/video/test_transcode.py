import importlib.util
from pathlib import Path

import av
import numpy as np
import pytest
from numbered_videos import number_of, turn, write

from projects.adamae.video.reader import VideoReader
from projects.adamae.video.transcode import (
    TranscodeSpec,
    transcode_file,
    transcode_folder,
)

SPEC = TranscodeSpec(short_side=32, gop=8, preset='ultrafast')


def numbers(path):
    images = VideoReader(str(path)).get_frames(range(60))
    return [number_of(np.repeat(np.repeat(image, 2, 0), 2, 1)) for image in images]


@pytest.mark.parametrize(
    'suffix, encoder, options',
    [
        ('mp4', 'libx264', {}),
        ('webm', 'libvpx-vp9', {'cpu-used': '8'}),
        ('avi', 'mpeg4', {'bf': '2'}),
    ],
)
def test_keeps_every_frame_and_its_time(tmp_path, suffix, encoder, options):
    times = None if suffix == 'avi' else np.arange(60) ** 2 * 100
    source = write(tmp_path / f'a.{suffix}', encoder, options, times=times)
    target = tmp_path / 'out/b.mp4'
    transcode_file(source, target, SPEC)
    assert numbers(target) == list(range(60))
    with av.open(str(target)) as new, av.open(source) as old:
        stream = new.streams.video[0]
        assert (stream.width, stream.height) == (48, 32)
        assert stream.codec.name == 'h264' and not new.streams.audio
        frames = list(new.decode(stream))
        assert max(np.diff([i for i, f in enumerate(frames) if f.key_frame])) <= 8
        if times is not None:
            shown = [f.time for f in old.decode(video=0)]
            times = [f.time - frames[0].time for f in frames]
            assert np.allclose(
                [f.time - frames[0].time for f in frames], shown, atol=2e-3
            )


def test_colours_survive(tmp_path):
    source, target = write(tmp_path / 'a.mp4', 'libx264', frames=5), tmp_path / 'b.mp4'
    transcode_file(source, target, TranscodeSpec(short_side=64, crf=5))
    old, new = (VideoReader(str(p)).get_frames([2])[0] for p in (source, target))
    assert np.abs(np.subtract(old, new, dtype=np.int16)).mean() < 3


@pytest.mark.parametrize('quarters', [1, 2, 3])
def test_pictures_on_their_side_are_turned(tmp_path, quarters):
    source, target = write(tmp_path / 'a.mp4', 'libx264', frames=5), tmp_path / 'b.mp4'
    lying = VideoReader(source).get_frames([2])[0]
    turn(source, quarters)
    transcode_file(source, target, TranscodeSpec(short_side=64, crf=5))
    with av.open(str(target)) as container:
        new = list(container.decode(video=0))
    assert len(new) == 5 and not new[2].rotation
    upright = np.rot90(lying, -quarters)
    difference = np.subtract(new[2].to_ndarray(format='rgb24'), upright, dtype=np.int16)
    assert np.abs(difference).mean() < 3


def test_times_that_repeat_or_are_missing(tmp_path):
    """Every frame is kept; one without a time of its own comes a frame later."""
    source, bad = str(tmp_path / 'a.mkv'), str(tmp_path / 'b.mkv')
    target = tmp_path / 'c.mp4'
    write(source, 'libx264', {'tune': 'zerolatency'}, frames=6)
    keep = {'avoid_negative_ts': 'disabled'}
    with av.open(source) as old, av.open(bad, 'w', options=keep) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet, time in zip(
            old.demux(video=0), (-80, -40, 0, 40, 40, 41), strict=False
        ):
            packet.pts = packet.dts = time
            packet.stream = stream
            new.mux(packet)
    transcode_file(bad, target, SPEC)
    with av.open(str(target)) as container:
        times = [round(1e3 * float(f.time)) for f in container.decode(video=0)]
    assert len(times) == 6 and (np.diff(times) > 0).all()


def test_sizes():
    spec = TranscodeSpec(short_side=256)
    assert spec.size(1920, 1080) == (456, 256) and spec.size(1080, 1920) == (256, 456)
    assert spec.size(321, 241) == (320, 240)  # not enlarged, but even


def test_goes_on_and_reports_what_it_cannot_read(tmp_path):
    source, target = tmp_path / 'in', tmp_path / 'out'
    (source / 'a/b').mkdir(parents=True)
    write(source / 'a/b/one.mkv', 'libx264', frames=10)
    write(source / 'two.mp4', 'libx264', frames=10)
    (source / 'a/bad.mp4').write_text('nothing' * 200)
    before = {p: p.read_bytes() for p in source.rglob('*.m*')}
    written, there, failed = transcode_folder(source, target, SPEC, workers=2)
    assert (written, there) == (2, 0) and list(failed) == [str(source / 'a/bad.mp4')]
    assert 'Invalid data' in failed[str(source / 'a/bad.mp4')]
    files = sorted(str(p.relative_to(target)) for p in target.rglob('*') if p.is_file())
    assert files == ['a/b/one.mp4', 'transcode.json', 'two.mp4']
    # What a killed run leaves behind.
    (target / 'two.mp4').rename(target / 'two.mp4.partial')
    kept = (target / 'a/b/one.mp4').stat().st_mtime_ns
    assert transcode_folder(source, target, SPEC)[:2] == (1, 1)
    assert (target / 'a/b/one.mp4').stat().st_mtime_ns == kept
    assert not list(target.rglob('*.partial'))
    assert {p: p.read_bytes() for p in source.rglob('*.m*')} == before


def test_a_file_that_breaks_off_leaves_nothing(tmp_path):
    path = tmp_path / 'a.mp4'
    write(path, 'libx264', {}, {'movflags': 'faststart'})
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises((av.FFmpegError, OSError)):
        transcode_file(path, tmp_path / 'b.mp4', SPEC)
    assert list(tmp_path.iterdir()) == [path]


def test_refuses(tmp_path):
    source = tmp_path / 'in'
    source.mkdir()
    write(source / 'one.mp4', 'libx264', frames=3)
    for target in (source, source / 'sub', tmp_path):
        with pytest.raises(ValueError, match='neither in the other'):
            transcode_folder(source, target, SPEC)
    with pytest.raises(FileExistsError, match='exists'):
        transcode_file(source / 'one.mp4', source / 'one.mp4', SPEC)
    transcode_folder(source, tmp_path / 'out', SPEC)
    with pytest.raises(FileExistsError, match="'short_side': 64.*choose another"):
        transcode_folder(source, tmp_path / 'out', TranscodeSpec(64))
    write(source / 'one.avi', 'libx264', frames=3)
    with pytest.raises(ValueError, match='got 2 with that name'):
        transcode_folder(source, tmp_path / 'out', SPEC)
    with pytest.raises(ValueError, match='short_side: expected even'):
        TranscodeSpec(short_side=255)


def test_the_tool_ends_with_1_if_a_file_cannot_be_read(tmp_path, capsys):
    path = Path(__file__).parents[2] / 'tools/data/transcode.py'
    spec = importlib.util.spec_from_file_location('transcode_tool', path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    (tmp_path / 'in').mkdir()
    write(tmp_path / 'in/a.mp4', 'libx264', frames=3)
    args = [str(tmp_path / 'in'), str(tmp_path / 'out'), '--workers', '1']
    tool.main(args)
    assert 'wrote 1 videos, 0 were there' in capsys.readouterr().out
    (tmp_path / 'in/bad.mp4').write_text('nothing' * 200)
    with pytest.raises(SystemExit) as stop:
        tool.main(args)
    assert stop.value.code == 1 and 'in/bad.mp4: Invalid' in capsys.readouterr().err
