"""RandAugment of the recipes sees colors as Pillow, which the papers use, does."""

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import Compose
from PIL import Image, ImageEnhance

from tests.helpers import CONFIGS

RECIPES = ['adamae_vitb_ssv2', 'adamae_vitb_k400', 'maest_vitl_k400']


def rand_augment(recipe, policy):
    """The recipe's step with one operation, which always happens."""
    cfg = Config.fromfile(CONFIGS / f'{recipe}_finetune.py')
    step = cfg.train_pipeline[3]
    (augment,) = (t for t in step.transforms if t.type == 'RandAugment')
    augment.update(policies=[policy], num_policies=1, magnitude_std=0, hparams={})
    return Compose([step])


def warm_frames(count=4):
    """Smooth images with more red than blue."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 12, 16, 3))
    frames = [
        cv2.resize(c.astype(np.uint8), (64, 48), interpolation=cv2.INTER_CUBIC)
        for c in coarse
    ]
    return [(f * (1, 0.7, 0.3)).astype(np.uint8) for f in frames]


@pytest.mark.parametrize('recipe', RECIPES)
@pytest.mark.parametrize(
    ('kind', 'enhance'),
    [('ColorTransform', ImageEnhance.Color), ('Contrast', ImageEnhance.Contrast)],
)
def test_color_and_contrast_are_pillow_s(recipe, kind, enhance):
    policy = dict(
        type=kind,
        magnitude_range=(0.63, 0.63),
        prob=1.0,
        random_negative_prob=0.0,
    )
    frames = warm_frames()
    found = rand_augment(recipe, policy)(dict(imgs=[f.copy() for f in frames]))['imgs']
    expected = [np.asarray(enhance(Image.fromarray(f)).enhance(1.63)) for f in frames]
    difference = np.abs(np.subtract(found, expected, dtype=float)).mean()
    assert difference < 1  # gray levels; 8 with red and blue swapped
