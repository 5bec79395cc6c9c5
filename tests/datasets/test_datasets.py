import decord
import pytest
from mmaction.datasets.transforms import SampleFrames

from projects.adamae import TolerantVideoDataset, VideoFolderDataset
from tests.helpers import write_videos

PIPELINE = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=4, frame_interval=1, num_clips=1),
    dict(type='DecordDecode'),
]


def make(folder, **kwargs):
    return VideoFolderDataset(dict(video=str(folder)), PIPELINE, **kwargs)


def test_finds_videos_at_any_depth_and_follows_links(tmp_path):
    write_videos(tmp_path / 'elsewhere', count=2)
    write_videos(tmp_path / 'clips/a/b', count=2)
    (tmp_path / 'clips/a/notes.txt').write_text('no video')
    (tmp_path / 'clips/linked').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'elsewhere/round').symlink_to(tmp_path / 'clips')
    dataset = make(tmp_path / 'clips')
    assert len(dataset) == 4
    sample = dataset[0]
    assert len(sample['imgs']) == 4 and sample['label'] == -1


def test_folder_that_is_missing_or_empty(tmp_path):
    with pytest.raises(FileNotFoundError, match='found none at .*/nowhere'):
        make(tmp_path / 'nowhere')
    with pytest.raises(FileNotFoundError, match='holds no video'):
        make(tmp_path)


@pytest.fixture
def damaged(tmp_path):
    """Three videos, the second cut in half; with an annotation file."""
    lines = write_videos(tmp_path, count=3)
    whole = (tmp_path / '1.mp4').read_bytes()
    (tmp_path / '1.mp4').write_bytes(whole[: len(whole) // 2])
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    return tmp_path


def annotated(folder, pipeline=PIPELINE, **kwargs):
    prefix = dict(video=str(folder))
    return TolerantVideoDataset(
        str(folder / 'list.txt'), pipeline, data_prefix=prefix, **kwargs
    )


@pytest.mark.parametrize('build', [make, annotated])
def test_a_damaged_file_is_replaced_in_training_and_named_in_testing(build, damaged):
    sample = build(damaged)[1]
    assert len(sample['imgs']) == 4 and not sample['filename'].endswith('1.mp4')
    with pytest.raises(RuntimeError, match=r'1\.mp4: cannot be read'):
        build(damaged, test_mode=True)[1]


def test_a_mistake_in_the_pipeline_is_not_blamed_on_the_video(damaged):
    wrong = [*PIPELINE[:2], dict(type='Resize', scale=(8, 8))]
    with pytest.raises(KeyError, match='imgs|img_shape'):
        annotated(damaged, wrong)[0]


@pytest.mark.parametrize(
    'kind', [RuntimeError, AssertionError, ValueError, AttributeError]
)
def test_mistake_of_a_type_that_decoders_raise_too(damaged, monkeypatch, kind):
    def fail(self, results):
        raise kind('sizes of tensors')

    monkeypatch.setattr(SampleFrames, 'transform', fail)
    with pytest.raises(kind, match='^sizes of tensors$'):
        annotated(damaged)[0]


@pytest.mark.parametrize(
    ('function', 'result', 'message'),
    [
        ('_CAPI_VideoReaderGetVideoReader', None, 'Error reading'),
        ('_CAPI_VideoReaderGetFrameCount', 0, 'Invalid frame count'),
    ],
)
def test_what_decord_checks_itself_is_blamed_on_the_video(
    damaged, monkeypatch, function, result, message
):
    monkeypatch.setattr(decord.video_reader, function, lambda *_: result)
    with pytest.raises(RuntimeError, match=rf'0\.mp4: cannot be read \({message}'):
        annotated(damaged, test_mode=True)[0]
