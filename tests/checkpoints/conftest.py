"""Converted checkpoints."""

import pytest

from projects.adamae.checkpoints.convert import convert
from tests.checkpoints.samples import CLIP, HEADS, released, save


@pytest.fixture(scope='session')
def pretrained(tmp_path_factory):
    """The golden pre-training checkpoint, converted."""
    folder = tmp_path_factory.mktemp('pretrained')
    path = save(folder / 'released.pth', released('adamae_pretrain_tiny'))
    convert(path, folder / 'ours.pth', overrides=HEADS)
    return str(folder / 'ours.pth')


@pytest.fixture(scope='session')
def finetuned(tmp_path_factory):
    """The golden fine-tuning checkpoint, converted."""
    folder = tmp_path_factory.mktemp('finetuned')
    path = save(folder / 'released.pth', released('vit_finetune_tiny'), 'module')
    convert(path, folder / 'ours.pth', overrides=HEADS | CLIP)
    return str(folder / 'ours.pth')
