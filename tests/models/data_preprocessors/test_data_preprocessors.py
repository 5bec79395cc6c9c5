import pytest
import torch
from mmaction.models.data_preprocessors import ActionDataPreprocessor
from mmaction.structures import ActionDataSample
from torch.testing import assert_close

from projects.adamae import AdaMAEDataPreprocessor, BatchedDataPreprocessor
from projects.adamae.models.tokens import patchify

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def pack(clips):
    """A batch of the loader: one item and one sample per video."""
    samples = [ActionDataSample().set_gt_label(i) for i in range(len(clips))]
    return dict(inputs=list(clips), data_samples=samples)


def pixels(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def test_clips_of_a_video_become_samples_of_the_batch():
    preprocessor = AdaMAEDataPreprocessor(MEAN, STD)
    videos = pixels(2, 3, 3, 4, 8, 8)
    data = preprocessor(pack(videos), training=True)
    assert data['inputs'].shape == (6, 3, 4, 8, 8)
    labels = [sample.gt_label.item() for sample in data['data_samples']]
    assert labels == [0, 0, 0, 1, 1, 1]
    data['data_samples'][0].mask = torch.ones(1)
    assert 'mask' not in data['data_samples'][1]
    mean, std = torch.tensor([MEAN, STD]).view(2, 3, 1, 1, 1)
    expected = (videos[1][2].float() - mean) / std
    assert_close(data['inputs'][5], expected)


def test_denormalize_gives_the_pixels_back():
    preprocessor = AdaMAEDataPreprocessor(MEAN, STD)
    video = pixels(1, 3, 4, 8, 8)
    data = preprocessor(pack([video]))
    found = preprocessor.denormalize(patchify(data['inputs'], 4, 2))
    assert_close(found, patchify(video, 4, 2) / 255)


@pytest.mark.parametrize(
    'args, options, message',
    [
        ((), {}, 'expected mean and std'),
        ((MEAN, STD), dict(format_shape='NCHW'), "format_shape='NCTHW', got 'NCHW'"),
        ((MEAN, STD), {}, "input_format='NCTHW'"),
    ],
)
def test_bad_use(args, options, message):
    with pytest.raises(ValueError, match=message):
        AdaMAEDataPreprocessor(*args, **options)(pack(pixels(1, 3, 4, 8, 8)))


@pytest.mark.parametrize(
    'other', [(2, 3, 4, 8, 8), (1, 3, 8, 8, 8), (1, 3, 4, 8, 9), (3, 4, 8, 8)]
)
def test_videos_of_different_shapes_are_rejected(other):
    """Padding would be something to rebuild."""
    videos = [pixels(1, 3, 4, 8, 8), pixels(*other)]
    with pytest.raises(ValueError, match='one shape .*Resize to one size'):
        AdaMAEDataPreprocessor(MEAN, STD)(pack(videos))


@pytest.mark.parametrize('shape', [(2, 3, 4, 8, 8), (4, 3, 8, 8)])
@pytest.mark.parametrize('options', [{}, dict(to_rgb=True), dict(mean=None, std=None)])
@pytest.mark.parametrize('blend', [True, False])
@pytest.mark.parametrize('transposed', [True, False])
def test_one_copy_gives_what_many_do(shape, options, blend, transposed):
    """Bit for bit MMAction2's batch and labels."""
    blending = dict(type='MixupBlending', num_classes=5) if blend else None
    layout = 'NCTHW' if len(shape) == 5 else 'NCHW'
    cfg = dict(mean=MEAN, std=STD, format_shape=layout, blending=blending) | options
    clips = pixels(3, *shape)
    if transposed:
        clips = clips.transpose(-3, -1).contiguous().transpose(-3, -1)
    results = []
    for kind in (ActionDataPreprocessor, BatchedDataPreprocessor):
        torch.manual_seed(1)
        results.append(kind(**cfg)(pack(clips), training=True))
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
        if tensor.device.type == 'cpu' and tensor.ndim > 1:  # labels are small
            copies.append((tensor.dtype, kwargs.get('non_blocking')))
        return to(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, 'to', counted)
    data = preprocessor(pack(pixels(3, 1, 3, 4, 8, 8)))
    assert data['inputs'].device.type == 'meta' and data['inputs'].shape[0] == 3
    assert copies == [(torch.uint8, True)]


def test_clips_of_different_sizes_are_padded_as_ever():
    clips = [torch.ones(1, 3, 4, 8, 8 + i, dtype=torch.uint8) for i in range(2)]
    data = BatchedDataPreprocessor(format_shape='NCTHW')(pack(clips))
    assert data['inputs'].shape == (2, 1, 3, 4, 8, 9)
    assert data['inputs'][0, ..., 8].sum() == 0
