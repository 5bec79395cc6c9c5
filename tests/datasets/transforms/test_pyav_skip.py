import numpy as np
import pytest
from mmaction.datasets.transforms import DecordDecode, DecordInit
from mmaction.registry import TRANSFORMS
from mmengine.dataset import Compose

from projects.adamae.datasets.transforms import PyAVSkipDecode, PyAVSkipInit
from tests.numbered_videos import number_of, write


def test_hands_over_what_decord_hands_over(tmp_path):
    write(tmp_path / 'a.mp4', 'libx264')
    sample = dict(filename=str(tmp_path / 'a'))  # both add .mp4
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
    # Equal bit for bit here; two builds of FFmpeg may round colors differently.
    difference = np.subtract(ours['imgs'], theirs['imgs'], dtype=np.int16)
    assert np.abs(difference).max() <= 2


def test_another_file_backend(tmp_path):
    sample = dict(filename=write(tmp_path / 'a.mp4', 'libx264', frames=10))
    pipeline = [PyAVSkipInit('local'), PyAVSkipDecode()]
    results = Compose(pipeline)({**sample, 'frame_inds': np.array([4])})
    assert number_of(results['imgs'][0]) == 4


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='PyAVSkipInit', num_threads=8), 'expected num_threads=1, got 8; it'),
        (dict(type='PyAVSkipDecode', mode='efficient'), "expected mode='accurate'"),
    ],
)
def test_arguments_of_decord_that_are_rejected(cfg, message):
    with pytest.raises(ValueError, match=f'{cfg["type"]}: {message}'):
        TRANSFORMS.build(cfg)


def test_unknown_arguments_are_not_swallowed():
    with pytest.raises(TypeError, match='argument'):
        PyAVSkipInit(threads=8)(dict(filename=__file__))
