import errno
import pickle

import decord
import pytest
from mmaction.datasets.transforms import SampleFrames
from mmengine.fileio import LocalBackend

from projects.adamae import (
    TolerantRepeatAugDataset,
    TolerantVideoDataset,
    VideoFolderDataset,
)
from projects.adamae.datasets.loading import UnreachableVideoError
from projects.adamae.video.error import VideoError
from tests.helpers import write_videos


def pipeline(loader='Decord'):
    return [
        dict(type=f'{loader}Init'),
        dict(type='SampleFrames', clip_len=4, frame_interval=1, num_clips=1),
        dict(type=f'{loader}Decode'),
    ]


def folder_of_videos(folder, loader='Decord', **kwargs):
    return VideoFolderDataset(dict(video=str(folder)), pipeline(loader), **kwargs)


def annotated(folder, loader='Decord', kind=TolerantVideoDataset, **kwargs):
    prefix = dict(video=str(folder))
    return kind(
        str(folder / 'list.txt'), pipeline(loader), data_prefix=prefix, **kwargs
    )


def repeated(folder, loader):
    return annotated(folder, loader, TolerantRepeatAugDataset, num_repeats=2)


def test_finds_videos_at_any_depth_and_follows_links(tmp_path):
    write_videos(tmp_path / 'elsewhere', count=2)
    write_videos(tmp_path / 'clips/a/b', count=2)
    (tmp_path / 'clips/a/notes.txt').write_text('no video')
    (tmp_path / 'clips/linked').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'elsewhere/round').symlink_to(tmp_path / 'clips')
    dataset = folder_of_videos(tmp_path / 'clips')
    assert len(dataset) == 4
    sample = dataset[0]
    assert len(sample['imgs']) == 4 and sample['label'] == -1


def test_folder_that_is_missing_or_empty(tmp_path):
    with pytest.raises(FileNotFoundError, match='found none at .*/nowhere'):
        folder_of_videos(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match='holds no video'):
        folder_of_videos(tmp_path)


@pytest.fixture(scope='module')
def damaged(tmp_path_factory):
    """Three videos, the second truncated; with an annotation file."""
    folder = tmp_path_factory.mktemp('videos')
    lines = write_videos(folder, count=3)
    whole = (folder / '1.mp4').read_bytes()
    (folder / '1.mp4').write_bytes(whole[: len(whole) // 2])
    (folder / 'list.txt').write_text('\n'.join(lines))
    return folder


@pytest.mark.parametrize(
    ('build', 'loader'),
    [
        (folder_of_videos, 'Decord'),
        (annotated, 'Decord'),
        (annotated, 'PyAVSkip'),
        (repeated, 'Decord'),
    ],
)
def test_a_damaged_file_is_replaced_in_training_and_named_in_testing(
    build, loader, damaged
):
    dataset = build(damaged, loader)
    samples = pickle.loads(pickle.dumps(dataset))[1]  # as for workers
    for sample in samples if build is repeated else [samples]:
        assert len(sample['imgs']) == 4 and not sample['filename'].endswith('1.mp4')
    if build is not repeated:  # which cannot test
        with pytest.raises(VideoError, match=r'1\.mp4: (truncated|expected a)'):
            build(damaged, loader, test_mode=True)[1]


def fail_with(error):
    def fail(*args):
        raise error

    return fail


@pytest.mark.parametrize('loader', ['Decord', 'PyAVSkip'])
@pytest.mark.parametrize(
    'number',
    [errno.ENOENT, errno.EACCES, errno.EISDIR, errno.EMFILE, errno.ESTALE, errno.EIO],
)
def test_not_every_failed_read_is_the_fault_of_a_video(
    damaged, monkeypatch, loader, number
):
    failure = OSError(number, 'why')
    monkeypatch.setattr(LocalBackend, 'get', fail_with(failure))
    if number in (errno.ENOENT, errno.EACCES, errno.EISDIR):
        with pytest.raises(VideoError, match=r'0\.mp4: .*: why'):
            annotated(damaged, loader, test_mode=True)[0]
    else:
        message = (
            r'0\.mp4: cannot be read now, which is not the fault .*: why; .* resume'
        )
        for test_mode in (False, True):
            with pytest.raises(UnreachableVideoError, match=message) as error:
                annotated(damaged, loader, test_mode=test_mode)[0]
            assert error.value.__cause__ is failure


@pytest.mark.parametrize('loader', ['Decord', 'PyAVSkip'])
@pytest.mark.parametrize(
    'kind', [RuntimeError, AssertionError, ValueError, AttributeError, OSError]
)
def test_mistake_of_a_type_that_decoders_raise_too(damaged, monkeypatch, loader, kind):
    error = kind('sizes of tensors')
    monkeypatch.setattr(SampleFrames, 'transform', fail_with(error))
    with pytest.raises(kind, match='^sizes of tensors$'):
        annotated(damaged, loader)[0]


@pytest.mark.parametrize(
    ('where', 'function', 'message'),
    [
        (decord.video_reader, '_CAPI_VideoReaderGetVideoReader', 'Error reading'),
        (decord.video_reader, '_CAPI_VideoReaderGetFrameCount', 'Invalid frame count'),
        (decord.VideoReader, 'get_batch', 'nearest frames'),
    ],
)
def test_what_decord_raises_is_blamed_on_the_video(
    damaged, monkeypatch, where, function, message
):
    results = dict(
        _CAPI_VideoReaderGetVideoReader=lambda *_: None,
        _CAPI_VideoReaderGetFrameCount=lambda *_: 0,
        get_batch=fail_with(decord.DECORDLimitReachedError('nearest frames')),
    )
    monkeypatch.setattr(where, function, results[function])
    with pytest.raises(VideoError, match=rf'0\.mp4: .*, got: {message}'):
        annotated(damaged, test_mode=True)[0]
