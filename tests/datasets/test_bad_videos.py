"""What a training set does with videos that cannot be read."""

import errno
import os
import random
import signal

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset, RepeatDataset
from mmengine.fileio import LocalBackend
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from projects.adamae import (
    PyAVSkipInit,
    TolerantRawframeDataset,
    TolerantRepeatAugDataset,
    TolerantVideoDataset,
    VideoFolderDataset,
)
from projects.adamae.datasets import checked_decord
from projects.adamae.datasets.bad_videos import (
    BadVideo,
    append_bad_videos,
    read_bad_videos,
    write_bad_videos,
)
from projects.adamae.datasets.loading import UnreachableVideoError
from projects.adamae.datasets.resumable_loader import ResumableDataLoader
from projects.adamae.datasets.unreadable import max_unreadable, reject_read_by, watch
from projects.adamae.evaluation.features import ErrorsAsValues
from projects.adamae.video.error import VideoError
from projects.adamae.video.folder import find_unreadable
from tests.helpers import write_videos


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """Four good videos, one that is none, one whose end is missing, and a gone one."""
    folder = tmp_path_factory.mktemp('videos')
    lines = write_videos(folder, count=4, frames=12)
    (folder / 'text.mp4').write_text('no video\n' * 500)
    (folder / 'list.txt').write_text('\n'.join(['text.mp4 1', *lines, 'gone.mp4 0']))
    return folder


def build(folder, loader='PyAVSkip', kind=TolerantVideoDataset, **kwargs):
    pipeline = [
        dict(type=f'{loader}Init'),
        dict(type='SampleFrames', clip_len=2, frame_interval=1, num_clips=1),
        dict(type=f'{loader}Decode'),
        dict(type='Resize', scale=(8, 8), keep_ratio=False),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs', meta_keys=('filename', 'frame_inds')),
    ]
    if kind is not VideoFolderDataset:
        kwargs.setdefault('ann_file', str(folder / 'list.txt'))
    return kind(
        pipeline=pipeline,
        data_prefix=dict(video=str(folder)),
        serialize_data=False,
        **kwargs,
    )


def names_of(sample):
    return [os.path.basename(v.name) for v in getattr(sample, 'bad_videos', ())]


def count_reads(monkeypatch):
    """Names of the files that are read from now on."""
    reads, get = [], LocalBackend.get

    def counting(self, path):
        reads.append(os.path.basename(path))
        return get(self, path)

    monkeypatch.setattr(LocalBackend, 'get', counting)
    return reads


@pytest.mark.parametrize('loader', ['PyAVSkip', 'Decord', 'PyAV', 'OpenCV'])
def test_a_file_that_cannot_be_opened_is_opened_once(videos, monkeypatch, loader):
    dataset = build(videos, loader)
    reads = count_reads(monkeypatch)
    reported = [names_of(dataset[0]['data_samples']) for _ in range(5)]
    reported.append(names_of(dataset[5]['data_samples']))
    assert sum(reported, []) in (['text.mp4', 'gone.mp4'], ['gone.mp4', 'text.mp4'])
    assert reads.count('text.mp4') == (loader != 'OpenCV')
    assert dataset._flags.tolist() == [1, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    'kind', [TolerantVideoDataset, TolerantRepeatAugDataset, VideoFolderDataset]
)
def test_every_dataset_reports_what_it_replaced(videos, kind):
    dataset = build(videos, kind=kind)
    bad = len(dataset) - 1 if kind is VideoFolderDataset else 0
    sample = dataset[bad]
    sample = sample[0] if kind is TolerantRepeatAugDataset else sample
    video = sample['data_samples'].bad_videos[0]
    assert video.name == str(videos / 'text.mp4')
    assert video.reason.startswith('expected a readable video, got: Invalid data')
    assert not sample['data_samples'].filename.endswith('text.mp4')


def test_frames_that_are_missing_may_be_others_next_time(tmp_path, monkeypatch):
    for folder in ('good', 'bad'):
        (tmp_path / folder).mkdir()
        picture = np.zeros((8, 8, 3), np.uint8)
        for number in range(1, 5):
            cv2.imwrite(f'{tmp_path}/{folder}/img_{number:05d}.jpg', picture)
    (tmp_path / 'bad/img_00001.jpg').write_text('no picture')
    (tmp_path / 'list.txt').write_text('bad 4 0\ngood 4 1')
    frames = dict(type='SampleFrames', clip_len=1, frame_interval=1, num_clips=1)
    dataset = TolerantRawframeDataset(
        str(tmp_path / 'list.txt'),
        [
            frames,
            dict(type='RawFrameDecode'),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs', meta_keys=('frame_dir',)),
        ],
        data_prefix=dict(img=str(tmp_path)),
    )
    samples = [dataset[0]['data_samples'] for _ in range(40)]
    assert {os.path.basename(sample.frame_dir) for sample in samples} == {'good', 'bad'}
    (video,) = [v for s in samples for v in getattr(s, 'bad_videos', ())]
    assert video.reason.endswith('img_00001.jpg: no picture') and video.in_part
    # What never ends is not opened.
    (tmp_path / 'bad/img_00001.jpg').unlink()
    os.mkfifo(tmp_path / 'bad/img_00001.jpg')
    for _ in range(20):
        dataset[0]


def test_samples_do_not_depend_on_what_was_known(videos):
    """As after a resume: the same draws, whether a video is opened in vain or not."""

    def draw(dataset):
        random.seed(1), np.random.seed(2), torch.manual_seed(3)
        samples = [dataset[i]['data_samples'] for i in (0, 5, 1, 0, 0, 5)]
        drawn = [(s.filename, s.frame_inds.tolist()) for s in samples]
        return drawn, random.random(), np.random.rand(), float(torch.rand(()))

    class Drawing(PyAVSkipInit):
        def transform(self, results):
            random.random(), np.random.rand(), torch.rand(3)
            return super().transform(results)

    fresh, known = build(videos), build(videos)
    known.mark_bad(0), known.mark_bad(5)
    for dataset in (fresh, known):
        dataset.pipeline.transforms[0].transform = Drawing()
    expected = draw(known)
    assert draw(fresh) == expected
    assert fresh._flags.tolist() == [1, 0, 0, 0, 0, 1]
    assert draw(fresh) == expected


@pytest.mark.parametrize(
    'method', ['fork', pytest.param('spawn', marks=pytest.mark.slow)]
)
def test_workers_share_what_they_found(videos, method):
    init_default_scope('mmaction')
    dataset = build(videos)
    loader = DataLoader(
        dataset,
        batch_size=1,
        num_workers=2 if method == 'fork' else 1,
        sampler=[0, 5] * 3,
        collate_fn=list,
        persistent_workers=True,
        multiprocessing_context=method,
    )
    names = [n for batch in loader for n in names_of(batch[0]['data_samples'])]
    assert {*names} == {'text.mp4', 'gone.mp4'}
    assert dataset._flags.tolist() == [1, 0, 0, 0, 0, 1]
    again = [n for batch in loader for n in names_of(batch[0]['data_samples'])]
    assert not again


@pytest.mark.parametrize('loader', ['PyAVSkip', 'Decord', 'PyAV', 'OpenCV'])
def test_what_is_no_file_is_not_opened(videos, tmp_path, loader):
    os.mkfifo(tmp_path / 'pipe.mp4')
    (tmp_path / 'folder.mp4').mkdir()
    (tmp_path / '0.mp4').symlink_to(videos / '0.mp4')
    (tmp_path / 'list.txt').write_text('pipe.mp4 0\nfolder.mp4 0\n0.mp4 0')
    dataset = build(tmp_path, loader)
    found = [names_of(dataset[i]['data_samples']) for i in (0, 1)]
    assert {*sum(found, [])} == {'pipe.mp4', 'folder.mp4'}
    errors = find_unreadable([str(tmp_path / 'pipe.mp4'), str(videos / '0.mp4')])
    assert [str(e).rpartition(': ')[2] for e in errors] == ['no regular file']


def test_a_lost_folder_is_no_fault_of_the_videos(videos, tmp_path):
    root = tmp_path / 'mount'
    root.mkdir()
    (root / '0.mp4').symlink_to(videos / '0.mp4')
    (tmp_path / 'list.txt').write_text('0.mp4 0\n1.mp4 0')
    for test_mode in (False, True):
        dataset = build(root, ann_file=str(tmp_path / 'list.txt'), test_mode=test_mode)
        dataset.keep_unreadable = test_mode
        assert dataset[1]['data_samples'].filename
        (root / '0.mp4').unlink()
        message = r'videos below \S+mount, got: it is empty; mount or restore it, then'
        with pytest.raises(UnreachableVideoError, match=message):
            build(root, ann_file=str(tmp_path / 'list.txt'), test_mode=test_mode)[0]
        (root / '0.mp4').symlink_to(videos / '0.mp4')
    (root / '0.mp4').unlink()
    root.rmdir()
    loader = DataLoader(build(root, ann_file=str(tmp_path / 'list.txt')), num_workers=1)
    with pytest.raises(VideoError) as error:
        next(iter(loader))
    assert str(error.value).startswith('data_prefix.video: expected the videos below')
    assert 'got: No such file or directory; mount' in str(error.value)


def test_too_many_open_files_name_the_limit(videos, monkeypatch):
    def fail(*_):
        raise OSError(errno.EMFILE, 'Too many open files')

    monkeypatch.setattr(LocalBackend, 'get', fail)
    test = build(videos, test_mode=True)
    test.keep_unreadable = True
    for dataset in (build(videos), test, ErrorsAsValues(test)):
        message = r'Too many open files.*ulimit -n'
        with pytest.raises(UnreachableVideoError, match=message):
            dataset[1]


def test_a_name_that_cannot_be_is_a_fault_of_the_list(videos, tmp_path):
    (tmp_path / 'list.txt').write_text(f'{"x" * 300}.mp4 0\n0.mp4 0')
    sample = build(videos, ann_file=str(tmp_path / 'list.txt'))[0]['data_samples']
    assert sample.bad_videos[0].reason.endswith('File name too long')


def test_a_rejected_video_is_not_opened_again(videos):
    train, test = build(videos), build(videos, test_mode=True)
    joined = ConcatDataset([build(videos), train, test])
    watch(joined, 2)
    assert reject_read_by(0, joined, 'why') is None
    train.reading[1], test.reading[0] = 2, 1
    assert reject_read_by(1, joined, 'it crashed') == str(videos / '1.mp4')
    assert reject_read_by(0, joined, 'no answer') == str(videos / '0.mp4')
    assert train._flags.nonzero().tolist() == [[2]]
    (video,) = train.pop_unreported()
    assert video.reason == 'expected a readable video, got: it crashed'
    for _ in range(20):
        assert not train[2]['data_samples'].filename.endswith('1.mp4')
    with pytest.raises(VideoError, match=r'0\.mp4: .* got: no answer'):
        test[1]
    test.keep_unreadable = True
    samples = [test[i]['data_samples'] for i in (0, 1, 2)]
    assert ['unreadable' in s for s in samples] == [True, True, False]
    assert reject_read_by(0, [1, 2], 'why') is None


class Crashing(PyAVSkipInit):
    def transform(self, results):
        if results['filename'].endswith('1.mp4'):
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().transform(results)


@pytest.mark.parametrize('test_mode', [False, True])
def test_a_video_that_crashes_in_place_of_another_is_the_one_to_blame(
    videos, tmp_path, test_mode
):
    """The sample asked for is another video, which just cannot be opened."""
    (tmp_path / 'list.txt').write_text('text.mp4 0\n1.mp4 0\n2.mp4 0')
    dataset = build(videos, ann_file=str(tmp_path / 'list.txt'), test_mode=test_mode)
    dataset.keep_unreadable = test_mode
    dataset.pipeline.transforms[0].transform = Crashing()
    loader = DataLoader(RepeatDataset(dataset, 4), num_workers=1, collate_fn=list)
    loader = ResumableDataLoader(loader, lambda: (0, 0, 0))
    samples = [batch[0]['data_samples'] for batch in loader]
    assert len(samples) == 12
    if test_mode:
        unreadable = ['unreadable' in sample for sample in samples]
        assert unreadable == [True, True, False] * 4
    else:
        assert {os.path.basename(s.filename) for s in samples} == {'2.mp4'}
        assert dataset._flags.tolist() == [1, 1, 0]
    assert [*dataset._rejected] == [1]


def test_decord_is_given_a_file_that_it_cannot_open_once(videos, monkeypatch):
    """It keeps the whole content of each such file."""
    dataset = build(videos, 'Decord', test_mode=True)
    step = dataset.pipeline.transforms[0].transform
    opened, looked = [], []
    look = step._look_through
    monkeypatch.setattr(step, '_look_through', lambda n: looked.append(n) or look(n))

    def fail(results):
        opened.append(results['filename'])
        raise RuntimeError('Error reading')

    transform = step.transform.transform
    monkeypatch.setattr(step.transform, 'transform', fail)
    for _ in range(3):
        with pytest.raises(VideoError, match=r'1\.mp4: .*: Error reading'):
            dataset[2]
    assert len(opened) == len(looked) == 1
    monkeypatch.setattr(step.transform, 'transform', transform)
    os.utime(videos / '1.mp4', ns=(0, 1))  # repaired
    assert dataset[2] and dataset[2]
    assert len(looked) == 2
    monkeypatch.setattr(checked_decord, '_MAX_VERDICTS', 1)
    assert dataset[1] and len(step._verdicts) == 1


def test_how_many_may_be_bad():
    counts = {n: max_unreadable(n) for n in (1, 4, 60, 100, 1000, 1500, 240_000)}
    assert counts == {1: 1, 4: 1, 60: 6, 100: 10, 1000: 10, 1500: 15, 240_000: 2400}
    assert [max_unreadable(60, share) for share in (0, 0.05, 1)] == [0, 3, 60]


def test_the_list_survives_names_and_killed_writers(tmp_path):
    path = tmp_path / 'bad_videos.txt'
    assert read_bad_videos(path) == []
    odd = tmp_path / 'a\tb\nc\\d\udcff.mp4'
    odd.write_text('no video')
    videos = [
        BadVideo.of(str(odd), f'{odd}: no\nvideo', in_part=False),
        BadVideo.of(str(tmp_path / 'gone.mp4'), 'No such file', in_part=False),
        BadVideo.of(str(odd.with_name('x.mp4')), 'frame 3', in_part=True),
    ]
    append_bad_videos(path, videos[:1])
    append_bad_videos(path, videos[1:])
    with open(path, 'a') as file:
        file.write('half of a li')
    assert read_bad_videos(path) == videos
    assert [video.has_changed() for video in videos] == [False] * 3
    assert len(path.read_bytes().split(b'\n')) == 4
    odd.write_text('repaired')
    os.utime(odd, ns=(0, 1))
    (tmp_path / 'gone.mp4').touch()
    assert [video.has_changed() for video in videos] == [True, True, False]
    write_bad_videos(path, [])
    assert not path.exists()
