import pytest
import torch
from mmaction.structures import ActionDataSample
from torch.testing import assert_close

from projects.adamae import AdaMAEDataPreprocessor
from projects.adamae.tokens import patchify

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def test_clips_of_a_video_become_samples_of_the_batch():
    preprocessor = AdaMAEDataPreprocessor(MEAN, STD)
    videos = [
        torch.randint(0, 256, (3, 3, 4, 8, 8), dtype=torch.uint8) for _ in range(2)
    ]
    samples = [ActionDataSample(metainfo=dict(number=i)) for i in range(2)]
    data = preprocessor(dict(inputs=videos, data_samples=samples), training=True)
    assert data['inputs'].shape == (6, 3, 4, 8, 8)
    assert [s.number for s in data['data_samples']] == [0, 0, 0, 1, 1, 1]
    data['data_samples'][0].mask = torch.ones(1)
    assert 'mask' not in data['data_samples'][1]
    expected = (videos[1][2].float() - torch.tensor(MEAN).view(3, 1, 1, 1)) / (
        torch.tensor(STD).view(3, 1, 1, 1)
    )
    assert_close(data['inputs'][5], expected)


def test_denormalise_gives_the_pixels_back():
    preprocessor = AdaMAEDataPreprocessor(MEAN, STD)
    video = torch.randint(0, 256, (1, 3, 4, 8, 8), dtype=torch.uint8)
    data = preprocessor(dict(inputs=[video], data_samples=[ActionDataSample()]))
    pixels = preprocessor.denormalise(patchify(data['inputs'], 4, 2))
    assert_close(pixels, patchify(video, 4, 2) / 255)


def test_bad_use():
    with pytest.raises(ValueError, match='expected mean and std'):
        AdaMAEDataPreprocessor()
    with pytest.raises(ValueError, match="expected format_shape='NCTHW', got 'NCHW'"):
        AdaMAEDataPreprocessor(MEAN, STD, format_shape='NCHW')
    with pytest.raises(ValueError, match="input_format='NCTHW'"):
        AdaMAEDataPreprocessor(MEAN, STD)(
            dict(inputs=[torch.zeros(3, 4, 8, 8)], data_samples=[ActionDataSample()])
        )
