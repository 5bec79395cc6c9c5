import pytest
import torch
from mmaction.models.data_preprocessors import ActionDataPreprocessor
from mmaction.structures import ActionDataSample
from torch.testing import assert_close

from projects.adamae import AdaMAEDataPreprocessor, BatchedDataPreprocessor
from projects.adamae.models.tokens import patchify

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


def test_denormalize_gives_the_pixels_back():
    preprocessor = AdaMAEDataPreprocessor(MEAN, STD)
    video = torch.randint(0, 256, (1, 3, 4, 8, 8), dtype=torch.uint8)
    data = preprocessor(dict(inputs=[video], data_samples=[ActionDataSample()]))
    pixels = preprocessor.denormalize(patchify(data['inputs'], 4, 2))
    assert_close(pixels, patchify(video, 4, 2) / 255)


@pytest.mark.parametrize(
    'args, options, message',
    [
        ((), {}, 'expected mean and std'),
        ((MEAN, STD), dict(format_shape='NCHW'), "format_shape='NCTHW', got 'NCHW'"),
        ((MEAN, STD), {}, "input_format='NCTHW'"),
    ],
)
def test_bad_use(args, options, message):
    data = dict(inputs=[torch.zeros(3, 4, 8, 8)], data_samples=[ActionDataSample()])
    with pytest.raises(ValueError, match=message):
        AdaMAEDataPreprocessor(*args, **options)(data)


@pytest.mark.parametrize(
    'other', [(2, 3, 4, 8, 8), (1, 3, 8, 8, 8), (1, 3, 4, 8, 9), (3, 4, 8, 8)]
)
def test_videos_of_different_shapes_are_rejected(other):
    """Padding would be something to rebuild."""
    videos = [
        torch.zeros(shape, dtype=torch.uint8) for shape in ((1, 3, 4, 8, 8), other)
    ]
    samples = [ActionDataSample() for _ in videos]
    with pytest.raises(ValueError, match='one shape .*Resize to one size'):
        AdaMAEDataPreprocessor(MEAN, STD)(dict(inputs=videos, data_samples=samples))


@pytest.mark.parametrize('shape', [(2, 3, 4, 8, 8), (4, 3, 8, 8)])
@pytest.mark.parametrize('options', [{}, dict(to_rgb=True), dict(mean=None, std=None)])
@pytest.mark.parametrize('blend', [True, False])
@pytest.mark.parametrize('transposed', [True, False])
def test_one_copy_gives_what_many_do(shape, options, blend, transposed):
    """Bit for bit MMAction2's batch and labels."""
    blending = dict(type='MixupBlending', num_classes=5) if blend else None
    cfg = dict(
        mean=MEAN,
        std=STD,
        format_shape='NCTHW' if len(shape) == 5 else 'NCHW',
        blending=blending,
    )
    cfg.update(options)
    clips = [torch.randint(0, 256, shape, dtype=torch.uint8) for _ in range(3)]
    if transposed:
        clips = [
            clip.transpose(-3, -1).contiguous().transpose(-3, -1) for clip in clips
        ]
    results = []
    for kind in (ActionDataPreprocessor, BatchedDataPreprocessor):
        torch.manual_seed(1)
        samples = [ActionDataSample().set_gt_label(i) for i in range(3)]
        results.append(
            kind(**cfg)(dict(inputs=list(clips), data_samples=samples), training=True)
        )
    stock, ours = results
    assert torch.equal(stock['inputs'], ours['inputs'])
    assert ours['inputs'].dtype == torch.float32 and ours['inputs'].is_contiguous()
    for expected, sample in zip(
        stock['data_samples'], ours['data_samples'], strict=True
    ):
        assert torch.equal(expected.gt_label, sample.gt_label)


def test_bytes_travel_once(monkeypatch):
    """No GPU here: the device without memory counts as well."""
    preprocessor = AdaMAEDataPreprocessor(MEAN, STD).to('meta')
    copies = []
    to = torch.Tensor.to

    def counted(tensor, *args, **kwargs):
        if tensor.device.type == 'cpu':
            copies.append((tensor.dtype, kwargs.get('non_blocking')))
        return to(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, 'to', counted)
    clips = [torch.zeros(1, 3, 4, 8, 8, dtype=torch.uint8) for _ in range(3)]
    samples = [ActionDataSample() for _ in clips]
    data = preprocessor(dict(inputs=clips, data_samples=samples))
    assert data['inputs'].device.type == 'meta' and data['inputs'].shape[0] == 3
    assert copies == [(torch.uint8, True)]


def test_clips_of_different_sizes_are_padded_as_ever():
    clips = [torch.ones(1, 3, 4, 8, 8 + i, dtype=torch.uint8) for i in range(2)]
    data = BatchedDataPreprocessor(format_shape='NCTHW')(
        dict(inputs=clips, data_samples=[ActionDataSample() for _ in clips])
    )
    assert data['inputs'].shape == (2, 1, 3, 4, 8, 9)
    assert data['inputs'][0, ..., 8].sum() == 0
