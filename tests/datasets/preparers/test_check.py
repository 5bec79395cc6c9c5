import os
import signal
import time

import pytest

from projects.adamae.datasets.preparers import resumable
from projects.adamae.datasets.preparers.check import check_videos
from projects.adamae.video.reader import VideoReader
from tests.helpers import run_tool
from tests.numbered_videos import write


@pytest.fixture
def folder(tmp_path):
    """Two whole videos, one cut, one that is text, one that crashes, one that hangs."""
    folder = tmp_path / 'videos'
    folder.mkdir()
    write(folder / 'good.mp4', 'libx264')
    content = (folder / 'good.mp4').read_bytes()
    write(folder / 'whole.mkv', 'mpeg4')
    cut = (folder / 'whole.mkv').read_bytes()
    (folder / 'cut.mkv').write_bytes(cut[: len(cut) // 2])
    (folder / 'text.mp4').write_text('no video')
    for name in ('crash.mp4', 'hang.mp4'):
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def broken_decoder(monkeypatch):
    whole = VideoReader.check

    def broken(self):
        if 'crash' in self.name:
            os.kill(os.getpid(), signal.SIGKILL)
        if 'hang' in self.name:
            time.sleep(60)
        whole(self)

    monkeypatch.setattr(VideoReader, 'check', broken)


def test_every_kind_is_named_and_costs_one_file(folder, tmp_path, broken_decoder):
    files = [str(file) for file in sorted(folder.iterdir())]
    progress = tmp_path / 'progress'
    found = check_videos(files, progress, workers=2, time_limit=2)
    assert [(os.path.basename(p.path), p.kind) for p in found] == [
        ('crash.mp4', 'decoder'),
        ('cut.mkv', 'truncated'),
        ('hang.mp4', 'decoder'),
        ('text.mp4', 'unreadable'),
    ]
    assert found[2].detail == 'not done after 2 s'


def test_what_was_checked_is_not_decoded_again(folder, tmp_path, monkeypatch):
    files = [str(folder / name) for name in ('good.mp4', 'cut.mkv', 'gone.mp4')]
    progress = tmp_path / 'progress'
    first = check_videos(files, progress)
    with open(progress, 'a') as file:
        file.write('["torn')
    decoded = []
    monkeypatch.setattr(
        resumable,
        'run_in_processes',
        lambda work, names, *_: [
            decoded.append(n.name) or _[-1](n, None) for n in names
        ],
    )
    assert check_videos(files[:2], progress) == first[:1]
    assert decoded == []
    write(folder / 'cut.mkv', 'mpeg4')
    write(folder / 'gone.mp4', 'mpeg4')
    assert check_videos(files, progress) == []
    assert decoded == ['cut.mkv', 'gone.mp4']


def test_a_disk_that_fails_ends_the_check(folder, tmp_path, monkeypatch):
    def fail(self):
        raise OSError(5, 'a lost mount')

    monkeypatch.setattr(VideoReader, 'check', fail)
    with pytest.raises(OSError, match='a lost mount'):
        check_videos([str(folder / 'good.mp4')], tmp_path / 'progress')


def test_the_tool_writes_a_table_and_a_list(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = ['good.mp4 0', 'text.mp4 1', 'cut.mkv 2', 'whole.mkv 3']
    (tmp_path / 'list.txt').write_text('\n'.join(names))
    args = ['list.txt', '--root', 'videos', '--good-list', 'new.txt', '--workers', 1]
    with pytest.raises(SystemExit) as end:
        run_tool('data/check_videos', *args)
    assert end.value.code == 1
    assert (tmp_path / 'new.txt').read_text() == 'good.mp4 0\nwhole.mkv 3\n'
    rows = [
        x.split('\t') for x in (tmp_path / 'bad_videos.tsv').read_text().split('\n')
    ]
    assert [row[:2] for row in rows[:-1]] == [
        ['path', 'kind'],
        ['videos/text.mp4', 'unreadable'],
        ['videos/cut.mkv', 'truncated'],
    ]
    assert 'cut.mkv: truncated: expected 2.40 s' in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        run_tool('data/check_videos', *args)
    assert end.value.code == 2
    assert 'expected a new file, new.txt exists' in capsys.readouterr().err
    (tmp_path / 'config.py').write_text(
        "val_dataloader = dict(dataset=dict(type='TolerantVideoDataset', "
        "ann_file='new.txt', data_prefix=dict(video='videos'), "
        "pipeline=[dict(type='PyAVSkipInit')]))"
    )
    with pytest.raises(SystemExit) as end:
        run_tool('data/check_videos', 'config.py', '--workers', 1)
    assert end.value.code == 0
    assert '2 videos checked, 0 bad' in capsys.readouterr().out
