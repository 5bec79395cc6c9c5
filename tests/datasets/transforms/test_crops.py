"""Random crops of all recipes stay within the frame, and within their ratios."""

import random

import numpy as np
import pytest
import torch
from mmaction.registry import TRANSFORMS
from mmengine.config import Config

from projects.adamae.datasets.transforms import MultiScaleCropWithinFrame
from tests.helpers import CONFIGS

# All other sizes derive from these.
RECIPES = [
    path.stem
    for pattern in ('adamae_vitb_*.py', 'maest_vitl_*.py')
    for path in CONFIGS.glob(pattern)
]


def crops(recipe):
    """The crops of a recipe's training pipeline."""
    pipeline = Config.fromfile(CONFIGS / f'{recipe}.py').train_dataloader
    pipeline = pipeline.dataset.pipeline
    return [step for step in pipeline if 'Crop' in step.type]


def shapes(step, height, width, draws):
    """Sizes of the crops of a frame, and what the results say they are."""
    crop = TRANSFORMS.build(step)
    for _ in range(draws):
        frame = np.broadcast_to(np.uint8(0), (height, width, 3))
        results = crop(dict(imgs=[frame], img_shape=(height, width)))
        shape = results['imgs'][0].shape[:2]
        assert shape == results['img_shape']
        left, top, right, bottom = results['crop_bbox']
        assert (bottom - top, right - left) == shape
        yield left, top, *shape


def test_all_recipes_crop_so():
    kinds = {step.type for recipe in RECIPES for step in crops(recipe)}
    assert kinds == {'MultiScaleCropWithinFrame', 'RandomResizedCropWithinRatio'}


@pytest.mark.parametrize('short_side', [112, 221, 222, 223, 224, 225, 256])
def test_multi_scale_crop_is_within_the_frame(short_side):
    (step,) = crops('adamae_vitb_k400_pretrain')
    for size in ((short_side, 395), (395, short_side)):
        found = [(h, w) for _, _, h, w in shapes(step, *size, draws=200)]
        assert min(map(min, found)) >= int(0.66 * short_side)
        assert max(map(max, found)) == (224 if short_side == 225 else short_side)


@pytest.mark.parametrize('short_side', [221, 224, 225, 256])
def test_multi_scale_crop_of_other_frames_is_that_of_mmaction(short_side):
    (step,) = crops('adamae_vitb_k400_pretrain')
    random.seed(0)
    ours = list(shapes(step, short_side, 395, draws=100))
    random.seed(0)
    theirs = shapes(dict(step, type='MultiScaleCrop'), short_side, 395, draws=100)
    assert ours == list(theirs)


def test_mmaction_cuts_strips():
    """Where this fails, MMAction2 stays within the frame and the class can go."""
    (step,) = crops('adamae_vitb_k400_pretrain')
    crop = TRANSFORMS.build(dict(step, type='MultiScaleCrop'))
    heights = []
    for _ in range(300):
        results = dict(imgs=[np.zeros((222, 395, 3))], img_shape=(222, 395))
        heights.append(len(crop(results)['imgs'][0]))
    assert isinstance(TRANSFORMS.build(step), MultiScaleCropWithinFrame)
    assert np.mean(np.array(heights) < 3) == pytest.approx(0.16, abs=0.08)


@pytest.mark.parametrize(
    'recipe', ['maest_vitl_k400_pretrain', 'adamae_vitb_k400_finetune']
)
def test_resized_crop_falls_back_to_the_largest(recipe):
    (step,) = crops(recipe)
    found = list(shapes(step, 256, 455, draws=2000))
    for _, _, height, width in found:
        # Sides are rounded.
        assert 3 / 4 - 0.01 < width / height < 4 / 3 + 0.01
        assert height * width > 0.99 * step.area_range[0] * 256 * 455
    share = found.count((57, 0, 256, 341)) / len(found)
    expected = 0.156 if 'pretrain' in recipe else 0
    assert share == pytest.approx(expected, abs=0.03)
    assert found.count((99, 0, 256, 256)) < 5


@pytest.mark.parametrize(
    ('size', 'expected'),
    [((455, 256), (0, 57, 341, 256)), ((256, 300), (0, 0, 256, 300))],
)
def test_resized_crop_that_never_fits(size, expected):
    """More than the whole frame is asked for: high frames, and those that are in."""
    step = dict(type='RandomResizedCropWithinRatio', area_range=(1.0, 1.0))
    ratio = (3 / 4, 4 / 3)
    torch.manual_seed(0)
    found = list(shapes(dict(step, aspect_ratio_range=ratio), *size, draws=5))
    assert set(found) == {expected}
