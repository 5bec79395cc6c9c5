"""Segments of long videos: every frame of them, and no other."""

import shutil

import av
import numpy as np
import pytest

from projects.adamae.datasets.preparers import segments
from projects.adamae.datasets.preparers.collection import Sample
from projects.adamae.datasets.preparers.transcode import (
    TargetError,
    TranscodeSpec,
    transcode_file,
)
from projects.adamae.video.reader import VideoReader
from tests.numbered_videos import FORMATS, number_of, turn, write

SPEC = TranscodeSpec(short_side=64, gop=8, preset='ultrafast')
# Those in which seeking goes wrong the most.
ALWAYS = 'open GOPs', 'deep pyramid', 'transport stream', 'H.264 in AVI', 'MPEG-2'


def numbers(path):
    reader = VideoReader(str(path))
    return [number_of(image) for image in reader.get_frames(range(len(reader)))]


@pytest.mark.parametrize(
    'name',
    [pytest.param(n, marks=() if n in ALWAYS else pytest.mark.slow) for n in FORMATS],
)
def test_a_segment_is_exact_to_the_frame(tmp_path, name):
    suffix, encoder, options, muxer = FORMATS[name]
    film = write(tmp_path / f'a.{suffix}', encoder, options, muxer, frames=70)
    for first, last in ((0, 4), (38, 45), (61, 70)):
        target = tmp_path / f'{first}.mp4'
        transcode_file(film, target, SPEC, start=first / 25, end=last / 25)
        assert numbers(target) == list(range(first, last))
        with av.open(str(target)) as container:
            times = [frame.time for frame in container.decode(video=0)]
        assert np.allclose(times, np.arange(last - first) / 25, atol=2e-3)


def test_frames_of_a_variable_rate_by_their_times(tmp_path):
    times = np.arange(60) ** 2 * 100  # of 1 / 90001 s
    film = write(tmp_path / 'a.mp4', 'libx264', times=times)
    transcode_file(film, tmp_path / 'b.mp4', SPEC, start=1.0, end=3.0)
    wanted = [i for i in range(60) if 1 <= times[i] / 90001 < 3]
    assert numbers(tmp_path / 'b.mp4') == wanted


@pytest.fixture(scope='module')
def films(tmp_path_factory):
    """Two films of 4 s with 25 frames a second, and one that is none."""
    root = tmp_path_factory.mktemp('films')
    (root / 'day 1').mkdir()
    write(root / 'day 1/film a.mp4', 'libx264', {'g': '12'}, frames=100)
    write(root / 'b.avi', 'mpeg4', {'bf': '2'}, frames=100)
    (root / 'broken.mkv').write_bytes(b'no video')
    return root


@pytest.mark.parametrize(
    'text',
    [
        'day 1/film a.mp4 1 2.5 jump high\nb.avi 00:00:01 0:02\n'
        'day 1/film a 0 0:01 run',
        'path,start,end,label\n"day 1/film a.mp4",1,2.5,jump high\nb.avi,1,2,\n'
        'day 1/film a,0.0,1,run',
        'label\tend\tstart\tvideo\njump high\t2.5\t1\tday 1/film a.mp4\n'
        '\t00:00:02\t01.000\tb.avi\nrun\t1\t0\tday 1/film a',
    ],
)
def test_tables(films, tmp_path, text):
    (tmp_path / 'table').write_text(text + '\n', encoding='utf-8-sig')
    found = segments.read(films, tmp_path / 'table')
    film = 'day 1/film a.mp4'
    assert found.samples == [
        Sample(film, 'jump high', None, film, 1.0, 2.5),
        Sample('b.avi', None, None, 'b.avi', 1.0, 2.0),
        Sample(film, 'run', None, film, 0.0, 1.0),
    ]
    assert found.classes == ['jump high', 'run']
    assert (found.missing, found.unlisted) == ([], ['broken.mkv'])


def test_segments_become_files(films, tmp_path, monkeypatch):
    table, out = tmp_path / 'table.txt', tmp_path / 'out'
    table.write_text(
        'day 1/film a.mp4 1 2.0 jump\nday 1/film a.mp4 1.0 2 jump\n'
        'b.avi 0:02 3.2 run\nb.avi 3 9 run\nbroken.mkv 0 1 run\ngone.mp4 0 1 run\n'
    )
    found = segments.read(films, [table])
    assert found.repeated == ['day 1/film a.mp4 1 2']
    done = segments.cut(found, out, SPEC, workers=2)
    names = [
        'day 1/film a/000001.000-000002.000.mp4',
        'b/000002.000-000003.200.mp4',
    ]
    assert done.root == str(out / 'videos') and done.classes == ['jump', 'run']
    assert done.samples == [
        Sample(names[0], 'jump', None, 'day 1/film a.mp4'),
        Sample(names[1], 'run', None, 'b.avi'),
    ]
    assert [numbers(out / 'videos' / name) for name in names] == [
        list(range(25, 50)),
        list(range(50, 80)),
    ]
    gone, late, broken = done.missing
    assert gone == 'gone.mp4' and broken.startswith('broken.mkv (000000.000-000001.000')
    assert late == (
        'b.avi (000003.000-000009.000 s): expected it to go on to 9.00 s, found its '
        'end at 4.00 s'
    )
    assert {p.name for p in out.iterdir()} == {'videos'}

    # Started again, it goes on; what another table has left is not of this one.
    table.write_text('b.avi 2 3.2 run\n')
    monkeypatch.setattr(segments, '_cut_one', lambda *_: 'cut again')
    again = segments.cut(segments.read(films, [table]), out, SPEC)
    assert [s.name for s in again.samples] == [names[1]]
    assert names[0] in again.unlisted and not again.missing
    with pytest.raises(FileExistsError, match="expected files made with .*'gop': 30"):
        segments.cut(found, out)


@pytest.mark.parametrize(
    'length, wanted',
    [
        (1.0, [(0, 25), (25, 50), (50, 75), (75, 100)]),
        (1.5, [(0, 38), (38, 75), (75, 100)]),  # what remains is at least half of it
        (1.8, [(0, 45), (45, 100)]),  # and is added to the last one else
        (9.0, [(0, 100)]),
    ],
)
def test_equal_segments(films, tmp_path, length, wanted):
    found = segments.read(films, length=length)
    assert [name.split(':')[0] for name in found.missing] == ['broken.mkv']
    for name in ('day 1/film a.mp4', 'b.avi'):
        mine = [s for s in found.samples if s.name == name]
        assert {s.group for s in mine} == {name} and not found.classes
        edges = [s.start for s in mine] + [mine[-1].end]
        assert edges == [*(i * length for i in range(len(wanted))), None]
    done = segments.cut(found, tmp_path, SPEC)
    frames = [numbers(tmp_path / 'videos' / s.name) for s in done.samples]
    assert frames == 2 * [list(range(*limits)) for limits in wanted]


def test_a_truncated_film_gives_what_is_whole(films, tmp_path):
    whole = tmp_path / 'a.mkv'
    write(whole, 'libx264', {'g': '12'}, frames=100)
    (tmp_path / 'films').mkdir()
    content = whole.read_bytes()
    (tmp_path / 'films/a.mkv').write_bytes(content[: len(content) * 6 // 10])
    found = segments.read(tmp_path / 'films', length=1.0)
    done = segments.cut(found, tmp_path / 'out', SPEC)
    assert 1 <= len(done.samples) <= 3
    assert len(done.samples) + len(done.missing) == 4
    for i, sample in enumerate(done.samples):
        path = tmp_path / 'out/videos' / sample.name
        assert numbers(path) == list(range(25 * i, 25 * i + 25))


@pytest.mark.parametrize(
    'text, message',
    [
        (
            'b.avi 2 1 run',
            'line 1: expected PATH START END .*, the end after the start',
        ),
        ('b.avi 1 2 run\nb.avi 2', 'line 2: expected PATH START END'),
        ('b.avi 1 2 run\nb.avi x 2', 'line 2: expected PATH START END'),
        (
            'b.avi 1 2 run\nb.avi 1 2 jump',
            "line 2: .*got 'jump', and 'run' in .*line 1",
        ),
        (
            'path,label\nb.avi,run',
            'line 1: expected PATH START .* or a header with path',
        ),
        (
            '../b.avi 1 2',
            'expected a video below .*name the folder that holds them all',
        ),
        ('/etc/b.avi 1 2', 'expected a video below '),
        ('c.avi 1 2\nd.avi 1 2', 'such as c.avi, ..., found none of them in .*b.avi'),
        ('', 'such as none: it has no line'),
        (f'a,0,1\n{"x" * 200_000},0,1', 'line 2: expected PATH START END'),
        (b'caf\xe9.avi 1 2', 'expected text in UTF-8.*iconv'),
    ],
)
def test_errors_of_tables(films, tmp_path, text, message):
    table = tmp_path / 'table.txt'
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        segments.read(films, table)


def test_other_errors(films, tmp_path):
    for options, message in (
        ({}, 'got neither'),
        (dict(annotations='x', length=1), 'got both'),
        (dict(length=float('nan')), '--length: expected 0.1 seconds or more, got nan'),
    ):
        with pytest.raises(ValueError, match=message):
            segments.read(films, **options)
    with pytest.raises(FileNotFoundError, match='a table of segments, got .*nowhere'):
        segments.read(films, tmp_path / 'nowhere')
    found = segments.read(films, length=2.0)
    with pytest.raises(ValueError, match='--out: expected a folder outside of'):
        segments.cut(found, films / 'out')
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'out/videos').mkdir(parents=True)
    (tmp_path / 'out/videos/b').symlink_to(tmp_path / 'elsewhere')
    with pytest.raises(TargetError, match='got a link to .*elsewhere'):
        segments.cut(found, tmp_path / 'out', SPEC)
    shutil.copytree(films, tmp_path / 'two')
    shutil.copy(tmp_path / 'two/b.avi', tmp_path / 'two/b.mp4')
    with pytest.raises(ValueError, match='one video for the folder .*b.avi and b.mp4'):
        segments.cut(segments.read(tmp_path / 'two', length=2.0), tmp_path / 'o', SPEC)


@pytest.mark.parametrize('start', [0.2, 2.0])
def test_segments_are_turned_as_the_film_says(tmp_path, start):
    film = write(tmp_path / 'a.mp4', 'libx264', {'g': '12'}, frames=70)
    turn(film, 1)
    transcode_file(film, tmp_path / 'b.mp4', SPEC, start=start, end=start + 0.2)
    with av.open(str(tmp_path / 'b.mp4')) as container:
        frames = list(container.decode(video=0))
    assert {(f.width, f.height, f.rotation) for f in frames} == {(64, 96, 0)}
    upright = np.rot90(frames[0].to_ndarray(format='rgb24'))
    assert number_of(upright) == round(start * 25) and len(frames) == 5
