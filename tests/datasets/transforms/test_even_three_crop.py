"""Tests of EvenThreeCrop against the published rule."""

import numpy as np
import pytest
from mmaction.registry import TRANSFORMS


def crop(height, width, name='EvenThreeCrop', crop_size=224):
    """Crop two frames whose pixels say where they are and in which frame."""
    positions = np.stack(np.mgrid[:height, :width], axis=-1)
    imgs = [np.dstack([positions, np.full((height, width), t)]) for t in range(2)]
    transform = TRANSFORMS.build(dict(type=name, crop_size=crop_size))
    return transform(dict(imgs=imgs, img_shape=(height, width)))


@pytest.mark.parametrize('portrait', [False, True])
def test_published_crops(portrait):
    for long in range(224, 400):
        step = (long - 224) / 2
        results = crop(*((long, 224) if portrait else (224, long)))
        assert len(results['imgs']) == 6 and results['img_shape'] == (224, 224)
        for view, img in enumerate(results['imgs']):
            start = int(view // 2 * step)
            y, x = (start, 0) if portrait else (0, start)
            assert img.shape == (224, 224, 3)
            assert img[0, 0].tolist() == [y, x, view % 2]
            assert img[-1, -1].tolist() == [y + 223, x + 223, view % 2]
            assert results['crop_bbox'][view].tolist() == [x, y, x + 224, y + 224]


def test_crops_need_not_be_square():
    results = crop(30, 47, crop_size=(20, 30))
    assert results['crop_bbox'][::2, 0].tolist() == [0, 13, 27]


@pytest.mark.parametrize('size', [(225, 300), (224, 223), (200, 300)])
def test_frames_that_do_not_fit(size):
    with pytest.raises(ValueError, match=r'expected frames .* got \d+ x \d+; put dict'):
        crop(*size)


def test_mmaction_stops_a_pixel_short():
    """Where this fails, MMAction2 crops as published and this class can go."""
    ours, theirs = crop(224, 301), crop(224, 301, 'ThreeCrop')
    assert ours['crop_bbox'][-1, 2] == 301
    assert theirs['crop_bbox'][:, 2].max() == 300
