"""What a video is, of whatever kind it may be."""

import os
import signal

import numpy as np
import pytest

from projects.adamae.datasets.preparers import resumable
from projects.adamae.datasets.preparers.survey import survey_videos
from projects.adamae.video.reader import VideoReader
from tests.numbered_videos import FORMATS, turn, write


def look(*paths, **kwargs):
    facts, problems = survey_videos([str(path) for path in paths], **kwargs)
    return [facts.get(str(p), problems.get(str(p))) for p in paths]


@pytest.mark.parametrize(
    'name, codec, container',
    [
        ('x264 default', 'h264', 'mp4'),
        ('VP9', 'vp9', 'webm'),
        ('transport stream', 'h264', 'mpegts'),
        ('MPEG-4 in AVI', 'mpeg4', 'avi'),
    ],
)
def test_facts_of_formats(tmp_path, name, codec, container):
    suffix, *encoding = FORMATS[name]
    path = tmp_path / f'video.{suffix}'
    write(path, *encoding)
    (found,) = look(path)
    assert (found.frames, found.seconds, found.fps) == (60, 2.4, 25)
    assert (found.size, found.codec, found.variable) == ((96, 64), codec, False)
    assert container in found.container
    assert not found.static and not found.black


def test_rotated_and_variable(tmp_path):
    path = tmp_path / 'phone.mp4'
    write(path, 'libx264')
    turn(path, 1)
    steps = np.tile([3000, 3000, 6000], 20)
    write(tmp_path / 'rates.mp4', 'libx264', times=np.cumsum(steps))
    turned, rates = look(path, tmp_path / 'rates.mp4')
    assert turned.size == (64, 96) and not turned.variable
    assert rates.variable and rates.frames == 60
    assert rates.fps == pytest.approx(90001 / 4000, rel=0.02)
    assert rates.seconds == pytest.approx(60 / rates.fps, rel=1e-3)


def test_what_is_no_video(tmp_path):
    os.mkfifo(tmp_path / 'pipe.mp4')
    (tmp_path / 'link.mp4').symlink_to('gone')
    (tmp_path / 'empty.mp4').touch()
    paths = [tmp_path / f'{name}.mp4' for name in ('pipe', 'link', 'empty', 'gone')]
    assert [kind for kind, _ in look(*paths)] == ['unreadable'] * 4


def test_a_decoder_that_dies_costs_one_file_and_is_tried_again(tmp_path, monkeypatch):
    whole = VideoReader.__init__

    def die(self, file, *args, **kwargs):
        if 'crash' in file:
            os.kill(os.getpid(), signal.SIGKILL)
        whole(self, file, *args, **kwargs)

    paths = [tmp_path / 'crash.mp4', tmp_path / 'good.mp4']
    for path in paths:
        write(path, 'libx264', frames=12)
    args = dict(progress=tmp_path / 'progress', workers=2)
    with monkeypatch.context() as patch:
        patch.setattr(VideoReader, '__init__', die)
        crash, good = look(*paths, **args)
    assert crash[0] == 'decoder' and 'killed' in crash[1]
    assert good.frames == 12
    tried = []
    run = resumable.run_in_processes
    monkeypatch.setattr(
        resumable,
        'run_in_processes',
        lambda work, names, *rest: tried.append(names) or run(work, names, *rest),
    )
    assert look(*paths, **args)[0].frames == 12
    assert tried == [[paths[0]]]
