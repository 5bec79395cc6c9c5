"""Clips made of a video, counted and as the data set gives them."""

import pytest
from mmengine.config import Config

from projects.adamae.analysis import memory
from projects.adamae.datasets.from_config import clips_per_video, innermost
from tests.helpers import CONFIGS


@pytest.mark.parametrize(
    'config, expected',
    [
        ('adamae_vitb_ssv2_pretrain', 1),
        ('maest_vitb_k400_pretrain', 4),
        ('maest_vitb_k400_finetune', 2),
        ('demo/motion_pretrain', 2),
    ],
)
def test_shipped_configs(config, expected, monkeypatch):
    monkeypatch.setenv('MOTION_DATA', 'nowhere')
    cfg = Config.fromfile(CONFIGS / f'{config}.py')
    loader = cfg.train_dataloader
    assert clips_per_video(loader.dataset) == expected
    assert memory.clips_per_step(cfg) == expected * loader.batch_size


def test_wrapped_and_repeated():
    pipeline = [
        dict(type='SampleFrames', num_clips=2),
        dict(type='PerClip', repeats=3, transforms=[]),
        dict(type='Other', repeats=7),
    ]
    inner = dict(type='RepeatAugDataset', num_repeats=5, pipeline=pipeline)
    joined = dict(type='ConcatDataset', datasets=[inner, inner])
    wrapped = dict(type='RepeatDataset', times=9, dataset=joined)
    assert innermost(wrapped) is inner
    assert clips_per_video(wrapped) == 30
    with pytest.raises(ValueError, match='expected a data set with a pipeline'):
        clips_per_video(dict(type='Empty'))
    with pytest.raises(ValueError, match='no train_dataloader'):
        memory.clips_per_step(Config())
