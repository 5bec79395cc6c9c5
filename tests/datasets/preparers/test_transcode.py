import multiprocessing
import os
import signal
import sys
import time

import av
import numpy as np
import pytest

from projects.adamae.datasets.preparers import transcode
from projects.adamae.datasets.preparers.transcode import (
    TargetError,
    TranscodeSpec,
    transcode_file,
    transcode_folder,
)
from projects.adamae.video.reader import VideoReader
from tests.helpers import load_tool, run_tool
from tests.numbered_videos import SIZE, number_of, picture, turn, write

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


def test_colors_survive(tmp_path):
    source, target = write(tmp_path / 'a.mp4', 'libx264', frames=5), tmp_path / 'b.mp4'
    transcode_file(source, target, TranscodeSpec(short_side=64, crf=5))
    old, new = (VideoReader(str(p)).get_frames([2])[0] for p in (source, target))
    assert np.abs(np.subtract(old, new, dtype=np.int16)).mean() < 3


@pytest.mark.parametrize('quarters', [1, 2, 3])
def test_frames_are_rotated(tmp_path, quarters):
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
    assert files == ['a/b/one.mp4', 'transcode.json', 'transcode.lock', 'two.mp4']
    # What a killed run leaves behind.
    (target / 'two.mp4').rename(target / f'{"0a" * 16}.partial')
    kept = (target / 'a/b/one.mp4').stat().st_mtime_ns
    assert transcode_folder(source, target, SPEC)[:2] == (1, 1)
    assert (target / 'a/b/one.mp4').stat().st_mtime_ns == kept
    assert not list(target.rglob('*.partial'))
    assert {p: p.read_bytes() for p in source.rglob('*.m*')} == before


def test_rejects(tmp_path):
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
    with pytest.raises(ValueError, match='preset: expected one of .*got medum'):
        TranscodeSpec(preset='medum')
    with pytest.raises(ValueError, match='workers: expected at least 1, got 0'):
        transcode_folder(source, tmp_path / 'out', SPEC, workers=0)


def write_with_sound(path, muxer, seconds):
    """Write a second of pictures and some seconds of silence."""
    with av.open(str(path), 'w', options=muxer) as container:
        video = container.add_stream('mpeg4', rate=25)
        video.height, video.width = SIZE
        sound = container.add_stream('mp2', rate=48000)
        for i in range(25):
            frame = av.VideoFrame.from_ndarray(picture(i), format='rgb24')
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for i in range(seconds * 48000 // 1152):
            silence = np.zeros((1, 2304), np.int16)
            frame = av.AudioFrame.from_ndarray(silence, format='s16', layout='stereo')
            frame.rate, frame.pts, frame.time_base = 48000, i * 1152, sound.time_base
            container.mux(sound.encode(frame))
        container.mux(sound.encode())


def frames_of(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize(
    'name, encoder', [('a.avi', 'mpeg4'), ('a.mkv', 'libx264'), ('a.webm', 'libvpx')]
)
@pytest.mark.parametrize('part', [0.5, 0.85])
def test_a_truncated_file_leaves_nothing_unless_asked(tmp_path, name, encoder, part):
    path, target = tmp_path / name, tmp_path / 'b.mp4'
    write(path, encoder)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(OSError, match=r'truncated: expected 2\.40 s.* found [0-2]\.'):
        transcode_file(path, target, SPEC)
    assert list(tmp_path.iterdir()) == [path]
    transcode_file(path, target, SPEC, keep_truncated=True)
    assert 0 < frames_of(target) < 57


@pytest.mark.parametrize('part', [0.6, 0.7, 0.83])
def test_an_mp4_truncated_within_a_frame(tmp_path, part):
    """Its index comes first, so that FFmpeg hands out half of the last packet."""
    path, target = tmp_path / 'a.mp4', tmp_path / 'b.mp4'
    write(path, 'libx264', muxer={'movflags': 'faststart'})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(OSError, match='truncated.*--keep-truncated'):
        transcode_file(path, target, SPEC)
    assert list(tmp_path.iterdir()) == [path]
    transcode_file(path, target, SPEC, keep_truncated=True)
    assert 0 < frames_of(target) < 60


def test_files_of_others_stay(three, tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    others = [out / f'{n}.partial' for n in ('download.zip', 'b.mp4', 'c')]
    for path in others:
        path.write_text('mine')
    for _ in range(2):
        transcode_folder(three, out, SPEC)
        assert [path.read_text() for path in others] == ['mine'] * 3


@pytest.mark.parametrize('suffix', ['avi', 'mkv', 'mp4', 'mov'])
@pytest.mark.parametrize('seconds', [0, 1, 3])
def test_whole_files_with_other_lengths_of_sound(tmp_path, suffix, seconds):
    write_with_sound(tmp_path / f'a.{suffix}', {}, seconds)
    transcode_file(tmp_path / f'a.{suffix}', tmp_path / 'b.mp4', SPEC)
    assert frames_of(tmp_path / 'b.mp4') == 25


def test_a_length_that_ffmpeg_guessed_is_no_claim(tmp_path):
    write_with_sound(tmp_path / 'a.mkv', {'live': '1'}, 8)
    with av.open(str(tmp_path / 'a.mkv')) as container:
        assert container.duration > 8.1e6
    transcode_file(tmp_path / 'a.mkv', tmp_path / 'b.mp4', SPEC)


@pytest.mark.parametrize('name', ['a.mkv', 'a.mp4'])
def test_whole_files_with_a_still_at_the_end(tmp_path, name):
    times = np.r_[np.arange(30) * 3600, 900_000]  # 25 a second, the last much later
    write(tmp_path / name, 'libx264', frames=31, times=times)
    transcode_file(tmp_path / name, tmp_path / 'b.mp4', SPEC)
    assert frames_of(tmp_path / 'b.mp4') == 31


@pytest.mark.parametrize('workers', [1, 2])
def test_titles_in_any_encoding(tmp_path, workers):
    source = tmp_path / 'in'
    source.mkdir()
    for name, encoder in (('a.avi', 'mpeg4'), ('b.mp4', 'libx264'), ('c.mkv', 'mpeg4')):
        with av.open(str(source / name), 'w') as container:
            container.metadata['title'] = 'Fußball'
            stream = container.add_stream(encoder, rate=25)
            stream.height, stream.width = SIZE
            frame = av.VideoFrame.from_ndarray(picture(1), format='rgb24')
            container.mux([*stream.encode(frame), *stream.encode()])
        content = (source / name).read_bytes()
        assert 'Fußball'.encode() in content
        latin = content.replace('Fußball'.encode(), 'Fußball!'.encode('latin-1'))
        (source / name).write_bytes(latin)
    assert transcode_folder(source, tmp_path / 'out', SPEC, workers) == (3, 0, {})


@pytest.fixture
def three(tmp_path):
    """A folder of three videos."""
    folder = tmp_path / 'in'
    folder.mkdir()
    for name in 'abc':
        write(folder / f'{name}.mp4', 'libx264', frames=5)
    return folder


@pytest.mark.parametrize('workers', [1, 3])
def test_any_error_is_that_of_one_file(three, tmp_path, monkeypatch, workers):
    def broken(source, *args):
        if source.name == 'b.mp4':
            raise KeyError('unheard of')
        transcode_file(source, *args)

    monkeypatch.setattr(transcode, 'transcode_file', broken)
    result = transcode_folder(three, tmp_path / 'out', SPEC, workers)
    assert result == (2, 0, {str(three / 'b.mp4'): "KeyError: 'unheard of'"})


@pytest.mark.parametrize('workers', [1, 2, 3])
def test_a_killed_worker_costs_one_file(three, tmp_path, monkeypatch, workers):
    def deadly(source, *args):
        if source.name == 'b.mp4':
            args[0].with_name(f'{"0a" * 16}.partial').touch()
            os.kill(os.getpid(), signal.SIGKILL)
        transcode_file(source, *args)

    monkeypatch.setattr(transcode, 'transcode_file', deadly)
    written, _, failed = transcode_folder(three, tmp_path / 'out', SPEC, workers)
    assert written == 2 and list(failed) == [str(three / 'b.mp4')]
    assert 'was killed' in failed[str(three / 'b.mp4')]
    left = {p.name for p in (tmp_path / 'out').iterdir()}
    assert left == {'a.mp4', 'c.mp4', 'transcode.json', 'transcode.lock'}


def endless(source, target, *args):
    """Stand in for a video that takes for ever."""
    target.write(b'half')
    time.sleep(600)


def interruptible(main, args):
    """Run a tool's main as from a terminal: a shell's background jobs ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(args)


@pytest.fixture
def run(three, tmp_path):
    """A run of the tool with two processes that are both writing."""
    main = load_tool('data/transcode').main
    args = [str(three), str(tmp_path / 'out'), '--workers', '2', '--short-side', '32']
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transcode, '_write', endless)
        process = multiprocessing.get_context('fork').Process(
            target=interruptible, args=(main, args)
        )
        process.start()
    while len(list((tmp_path / 'out').glob('*.partial'))) < 2:
        assert process.is_alive()
        time.sleep(0.01)
    yield process
    process.kill()
    process.join()


@pytest.mark.parametrize('how', ['SIGTERM', 'SIGKILL'])
def test_one_run_at_a_time_and_none_after_its_end(three, tmp_path, run, how):
    target, spec = tmp_path / 'out', transcode.TranscodeSpec(32)
    with pytest.raises(FileExistsError, match='out: expected no other run'):
        transcode_folder(three, target, spec)
    assert len(list(target.glob('*.partial'))) == 2
    os.kill(run.pid, getattr(signal, how))
    run.join()
    # The processes hold the lock as well: it is free when all of them are gone.
    end = time.monotonic() + 20
    while True:
        try:
            assert transcode_folder(three, target, spec, 2) == (3, 0, {})
            break
        except FileExistsError:
            assert time.monotonic() < end
            time.sleep(0.05)
    assert not list(target.glob('*.partial'))


def test_an_interrupt_ends_the_run_at_once(tmp_path, run):
    os.kill(run.pid, signal.SIGINT)
    run.join(20)
    assert run.exitcode == 130
    left = sorted(p.name for p in (tmp_path / 'out').iterdir())
    assert left == ['transcode.json', 'transcode.lock']


@pytest.mark.parametrize('workers', [1, 2])
def test_a_full_disk_is_no_error_of_a_video(three, tmp_path, workers):
    """Files must not grow over 500 bytes, which a process can forbid itself."""
    resource = pytest.importorskip('resource')
    answer, ours = multiprocessing.Pipe()

    def write_little():
        sys.stdout = open(os.devnull, 'w')  # may be a long file
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
        try:
            ours.send(transcode_folder(three, tmp_path / 'out', SPEC, workers))
        except BaseException as error:
            ours.send(error)

    process = multiprocessing.get_context('fork').Process(target=write_little)
    process.start()
    assert answer.poll(20)
    error = answer.recv()
    process.join()
    assert isinstance(error, TargetError) and 'out: expected a place' in str(error)
    left = sorted(p.name for p in (tmp_path / 'out').iterdir())
    assert left == ['transcode.json', 'transcode.lock']


def test_a_target_that_cannot_be_made(three, tmp_path, capsys):
    (tmp_path / 'file').touch()
    for name in ('file', 'file/below'):
        with pytest.raises(SystemExit) as stop:
            run_tool('data/transcode', three, tmp_path / name)
        assert stop.value.code == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and f'{name}: expected a place to write to' in lines[0]


def test_a_folder_of_other_videos_is_rejected(three, tmp_path):
    target = tmp_path / 'out'
    target.mkdir()
    (target / 'a.mp4').write_text('nothing')
    (target / 'mine.partial').write_text('nothing')
    with pytest.raises(FileExistsError, match='expected an empty folder or one with'):
        transcode_folder(three, target, SPEC)
    assert (target / 'mine.partial').exists()


def test_options_may_change_until_something_is_written(three, tmp_path):
    target = tmp_path / 'out'
    target.mkdir()
    for found in ('{"crf": 99}', 'not JSON', ''):
        (target / 'transcode.json').write_text(found)
        assert transcode_folder(three, target, SPEC) == (3, 0, {})
        for name in 'abc':
            (target / f'{name}.mp4').unlink()
    assert transcode_folder(three, target, TranscodeSpec(32)) == (3, 0, {})
    with pytest.raises(FileExistsError, match="'gop': 8.*choose another"):
        transcode_folder(three, target, SPEC)


def test_the_tool_ends_with_1_if_a_file_cannot_be_read(tmp_path, capsys):
    (tmp_path / 'in').mkdir()
    write(tmp_path / 'in/a.avi', 'mpeg4', frames=60)
    content = (tmp_path / 'in/a.avi').read_bytes()
    write(tmp_path / 'in/b.mp4', 'libx264', frames=3)
    args = ['data/transcode', tmp_path / 'in', tmp_path / 'out', '--workers', 1]
    run_tool(*args)
    assert 'wrote 2 videos, 0 were there' in capsys.readouterr().out
    (tmp_path / 'in/bad.mp4').write_text('nothing' * 200)
    (tmp_path / 'in/cut.avi').write_bytes(content[: len(content) // 2])
    for more, listed in (([], True), (['--keep-truncated'], False)):
        with pytest.raises(SystemExit) as stop:
            run_tool(*args, *more)
        errors = capsys.readouterr().err
        assert stop.value.code == 1 and 'in/bad.mp4: Invalid' in errors
        assert ('in/cut.avi: truncated: expected 2.40 s' in errors) == listed
