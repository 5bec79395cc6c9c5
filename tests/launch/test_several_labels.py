"""Videos with several labels: what does not fit is found before the start."""

import re

import pytest
from mmengine.config import Config

from projects.adamae import launch
from projects.adamae.launch.checks import _check_many_hot
from tests.helpers import run_tool

FITTING = {
    'model.cls_head.loss_cls.type': 'BCELossWithLogits',
    'model.cls_head.average_clips': 'score',
    'val_evaluator.metric_list': 'mean_average_precision',
    'default_hooks.checkpoint.save_best': 'acc/mean_average_precision',
    'train_dataloader.dataset.num_classes': 2,
    'val_dataloader.dataset.num_classes': 2,
}


@pytest.fixture
def cfg(toy):
    """The toy recognizer with several labels a video, otherwise as for one."""
    (toy.parent / 'several.txt').write_text('0.mp4 0 1\n1.mp4 1\n2.mp4 0\n3.mp4')
    cfg = Config.fromfile(toy)
    cfg.default_hooks.checkpoint.save_best = 'acc/top1'
    for split in ('train', 'val'):
        cfg[f'{split}_dataloader'].dataset.update(
            multi_class=True, ann_file='several.txt'
        )
    return cfg


def test_everything_to_set_is_said_at_once(cfg):
    with pytest.raises(ValueError, match='several labels a video') as error:
        _check_many_hot(cfg, ('train', 'val'))
    options = str(error.value).partition('--cfg-options ')[2].split()
    assert options == [f'{key}={value}' for key, value in FITTING.items()]
    cfg.merge_from_dict(FITTING)
    _check_many_hot(cfg, ('train', 'val'))


@pytest.mark.parametrize('key', FITTING)
def test_each_is_needed(cfg, key):
    cfg.merge_from_dict({k: v for k, v in FITTING.items() if k != key})
    with pytest.raises(ValueError, match=f'^{re.escape(key)}: the datasets have'):
        _check_many_hot(cfg, ('train', 'val'))


def test_one_label_is_left_alone(toy):
    launch.checks._check_many_hot(Config.fromfile(toy), ('train', 'val', 'test'))


def test_a_run_with_several_labels(toy, cfg, tmp_path, capfd):
    (toy.parent / 'several.txt').write_text('0.mp4 0 1\n1.mp4 1\n2.mp4 0\n3.mp4 0')
    cfg.merge_from_dict(FITTING)
    cfg.dump(tmp_path / 'several.py')
    run_tool('train', tmp_path / 'several.py', '--work-dir', tmp_path)
    assert 'acc/mean_average_precision' in ''.join(capfd.readouterr())
