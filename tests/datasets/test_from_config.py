"""Clips per video, and which datasets are built as what."""

import pytest
from mmaction.datasets import RepeatAugDataset, VideoDataset
from mmaction.registry import DATASETS
from mmengine.config import Config

from projects.adamae import TolerantVideoDataset
from projects.adamae.analysis import memory
from projects.adamae.datasets.from_config import (
    build_dataset,
    clips_per_video,
    innermost,
)
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
    assert clips_per_video(dict(type=RepeatAugDataset, pipeline=pipeline)) == 24
    assert clips_per_video(dict(inner, type='VideoDataset')) == 6
    with pytest.raises(ValueError, match='expected a dataset with a pipeline'):
        clips_per_video(dict(type='Empty'))
    with pytest.raises(ValueError, match='no train_dataloader'):
        memory.clips_per_step(Config())


class OwnDataset(VideoDataset):
    """A user's dataset: its ``num_repeats`` is how often every line is listed."""

    def __init__(self, num_repeats, **kwargs):
        self.num_repeats = num_repeats
        super().__init__(**kwargs)

    def load_data_list(self):
        return super().load_data_list() * self.num_repeats


@pytest.mark.parametrize(
    'kind, options, built, length',
    [
        ('RepeatAugDataset', {}, TolerantVideoDataset, 2),
        ('TolerantRepeatAugDataset', dict(sample_once=True), TolerantVideoDataset, 2),
        ('OwnDataset', dict(num_repeats=3), OwnDataset, 6),
    ],
)
def test_only_what_repeats_a_decode_is_built_as_another_class(
    tmp_path, monkeypatch, kind, options, built, length
):
    monkeypatch.setitem(DATASETS._module_dict, 'OwnDataset', OwnDataset)
    (tmp_path / 'list.txt').write_text('a.mp4 0\nb.mp4 1\n')
    pipeline = [dict(type='DecordInit'), dict(type='SampleFrames', clip_len=2)]
    dataset = dict(ann_file=str(tmp_path / 'list.txt'), pipeline=pipeline)
    cfg = Config(dict(val_dataloader=dict(dataset=dict(dataset, type=kind, **options))))
    found = build_dataset(cfg, 'val', (2, 16, 16))
    assert type(found) is built and len(found) == length and found.test_mode
