import numpy as np
import pytest
from mmaction.datasets.transforms import DecordDecode, DecordInit
from mmengine.dataset import Compose

from projects.adamae import TolerantVideoDataset
from projects.adamae.datasets.transforms import PyAVSkipDecode, PyAVSkipInit
from tests.helpers import write_videos
from tests.numbered_videos import number_of, write


def test_hands_over_what_decord_hands_over(tmp_path):
    sample = dict(filename=write(tmp_path / 'a.mp4', 'libx264'))
    ours, theirs = PyAVSkipInit()(dict(sample)), DecordInit()(dict(sample))
    assert ours.keys() == theirs.keys()
    assert ours['total_frames'] == theirs['total_frames'] == 60
    assert ours['avg_fps'] == theirs['avg_fps'] == 25
    wanted = np.array([[3, 5, 7], [50, 52, 3]])
    ours = PyAVSkipDecode()({**ours, 'frame_inds': wanted})
    theirs = DecordDecode()({**theirs, 'frame_inds': wanted})
    assert ours.keys() == theirs.keys()
    assert [number_of(x) for x in ours['imgs']] == [*wanted.ravel()]
    for key in ('img_shape', 'original_shape', 'video_reader'):
        assert ours[key] == theirs[key]
    assert ours['imgs'][0].dtype == np.uint8 and ours['imgs'][0].flags.writeable
    # Equal bit for bit here; two builds of FFmpeg may round colours differently.
    difference = np.subtract(ours['imgs'], theirs['imgs'], dtype=np.int16)
    assert np.abs(difference).max() <= 2


def test_another_file_backend(tmp_path):
    sample = dict(filename=write(tmp_path / 'a.mp4', 'libx264', frames=10))
    pipeline = [PyAVSkipInit('local'), PyAVSkipDecode()]
    results = Compose(pipeline)({**sample, 'frame_inds': np.array([4])})
    assert number_of(results['imgs'][0]) == 4


@pytest.mark.parametrize(
    'damage',
    [lambda x: x[: len(x) // 2], lambda x: x.replace(b'avc1', b'none')],
    ids=['cut in half', 'unknown codec'],
)
def test_a_damaged_file_is_replaced_in_training_and_named_in_testing(tmp_path, damage):
    lines = write_videos(tmp_path, count=3)
    content = (tmp_path / '1.mp4').read_bytes()
    (tmp_path / '1.mp4').write_bytes(damage(content))
    (tmp_path / 'list.txt').write_text('\n'.join(lines))
    pipeline = [
        dict(type='PyAVSkipInit'),
        dict(type='SampleFrames', clip_len=4, frame_interval=1, num_clips=1),
        dict(type='PyAVSkipDecode'),
    ]
    args = str(tmp_path / 'list.txt'), pipeline
    prefix = dict(data_prefix=dict(video=str(tmp_path)))
    sample = TolerantVideoDataset(*args, **prefix)[1]
    assert len(sample['imgs']) == 4 and not sample['filename'].endswith('1.mp4')
    with pytest.raises(RuntimeError, match=r'1\.mp4: cannot be read'):
        TolerantVideoDataset(*args, **prefix, test_mode=True)[1]
