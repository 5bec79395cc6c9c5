"""What is said of the data before a run starts."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import ConcatDataset
from mmengine.runner import EpochBasedTrainLoop

from projects.adamae import VideoFolderDataset
from projects.adamae.launch import batch_report, report_batches, report_videos
from projects.adamae.video.folder import find_videos, scan_folder
from tests.helpers import write_videos


def runner(dataset, batch_size, world=1, drop_last=True):
    loop = object.__new__(EpochBasedTrainLoop)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size * world, drop_last=drop_last
    )
    # Of all processes together, but for the size of a batch.
    steps = len(loader)
    loader.batch_sampler.batch_size = batch_size
    parts = dict(dataset=dataset, batch_sampler=loader.batch_sampler)
    loop.dataloader = type('Loader', (), dict(parts, __len__=lambda self: steps))()
    return SimpleNamespace(train_loop=loop, world_size=world, cfg=Config({}))


def test_a_small_folder(warned):
    report_batches(runner(range(55), 32))
    (steps,) = warned
    assert '55 videos in batches of 32 make 1 step an epoch' in steps
    assert 'leave 23 videos (42%) out of each' in steps
    assert 'train_dataloader.batch_size=5 or train_dataloader.drop_last=False' in steps


@pytest.mark.parametrize(
    'kwargs',
    [dict(batch_size=32, world=8), dict(batch_size=8)],
)
def test_nothing_to_say(warned, kwargs):
    report_batches(runner(range(2600), **kwargs))
    assert warned == []


def test_a_sampler_can_have_an_epoch_of_its_own(warned):
    made = runner(range(330), 32)
    batches = made.train_loop.dataloader.batch_sampler
    batches.sampler.num_videos = 20 * 32
    report_batches(made)
    (message,) = warned
    assert message.startswith('train_dataloader: 640 videos in batches of 32 make 10')


def test_advice_can_be_followed(warned):
    report_batches(runner(range(55), 5))
    assert warned == []
    report_batches(runner(range(6), 1))
    (message,) = warned
    assert message.endswith(
        '6 steps an epoch; train for more epochs, with warm-up to match'
    )


def test_videos_are_counted(tmp_path, warned, monkeypatch):
    write_videos(tmp_path, count=3, frames=4)
    logged = []
    module = 'projects.adamae.datasets.video_folder_dataset.print_log'
    monkeypatch.setattr(module, lambda text, *args: logged.append(text))
    monkeypatch.setattr(batch_report, 'print_log', lambda t, *args: logged.append(t))
    (tmp_path / '._0.mp4').write_bytes(b'x')
    for name in ('a.txt', 'b.TXT', 'Makefile'):
        (tmp_path / name).touch()

    def report(times=1):
        folders = [VideoFolderDataset(dict(video=str(tmp_path)), [])] * times
        made = runner(folders[0] if times == 1 else ConcatDataset(folders), 1)
        made.cfg.default_hooks = dict(unreadable_videos=dict(max_share=1))
        report_videos(made)

    report()
    skipped = 'skipped 4 other files (.txt 2, ._* 1, no suffix 1)'
    assert logged[0].endswith(skipped) and 'found 3 videos' in logged[0]
    assert logged[1] == 'data_prefix.video: 0 of 3 videos cannot be read'
    (tmp_path / '1.mp4').write_bytes(b'no video')
    (tmp_path / '2.mp4').write_bytes(b'')
    report()
    (message,) = warned
    assert '2 of 3 videos cannot be read' in message
    assert '1.mp4: expected' in message and '2.mp4: expected' in message
    report(times=2)  # folders that are joined
    assert '4 of 6 videos cannot be read' in warned[1]


def test_suffixes(tmp_path):
    names = 'a.WMV b.3gp c.ts d.flv e.mts f.m2ts g.gif h.mp4'.split()
    for name in (*names, '._h.mp4'):
        (tmp_path / name).touch()
    assert find_videos(tmp_path, 'x') == [str(tmp_path / name) for name in names]
    assert scan_folder(tmp_path, 'x')[1] == {'._*': 1}
    (tmp_path / 'no').mkdir()
    (tmp_path / 'no/list.csv').touch()
    with pytest.raises(FileNotFoundError, match=r'only 1 other file \(.csv 1\)'):
        find_videos(tmp_path / 'no', 'x')
