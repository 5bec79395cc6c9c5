"""The comparison for few labeled videos, and that the recommended settings fit some."""

import json
from math import sqrt

import pytest
from mmengine.config import Config

from projects.adamae.datasets.preparers import own_configs
from projects.adamae.datasets.preparers.recommend import recommend
from tests.datasets.preparers.test_few_labeled import steps_of, summary
from tests.helpers import CONFIGS, load_tool

few_videos = load_tool('benchmarks/few_videos')


@pytest.fixture
def variant(tmp_path, monkeypatch):
    """A function that gives the config of a variant."""
    monkeypatch.chdir(tmp_path)
    facts = summary(60, 32, test=300)
    paths = own_configs.config_paths('mine', 'configs')
    bases = CONFIGS / '_base_'
    own_configs.write_configs(recommend(facts), facts, 'data/mine', paths, bases)
    names = dict(base='configs/mine_finetune.py', train='a', val='b', out='c')
    lines = few_videos.TOY.format(**names, epochs=7, seed=3)

    def load(name):
        (tmp_path / 'variant.py').write_text(lines + few_videos.VARIANTS[name])
        return Config.fromfile(tmp_path / 'variant.py')

    return load


def test_variants_differ_in_what_they_say(variant):
    recommended = variant('recommended')
    published = variant('published')
    assert not {'RandAugment', 'RandomErasing'} & {*steps_of(recommended)}
    assert {'RandAugment', 'RandomErasing'} < {*steps_of(published)}
    assert len(published.model.data_preprocessor.blending.augments) == 2
    assert published.model.cls_head.label_smooth_eps == 0.1
    assert published.auto_scale_lr.base_batch_size == 256
    rate = recommended.optim_wrapper.optimizer.lr
    assert variant('4 times the rate').optim_wrapper.optimizer.lr == 4 * rate
    for name in few_videos.VARIANTS:
        cfg = variant(name)
        assert cfg.train_cfg.max_epochs == cfg.train_cfg.val_interval == 7
        assert (cfg.pretty_text == recommended.pretty_text) == (name == 'recommended')


def test_table_has_means_and_standard_errors():
    rows = [
        dict(key=[3, 60, 'x', None, s], train=1, test=t, steps=5, seconds=60)
        for s, t in enumerate((0.4, 0.6))
    ]
    table = few_videos.table(rows, 400)
    error = 100 * 0.2 / sqrt(2) / sqrt(2)
    assert f'| 3 | 60 | x | 5 | 2 | 100.0% ± 0.0 | 50.0% ± {error:.1f} |' in table
    assert '50% is 2.5 points. 2 minutes' in table


@pytest.mark.slow
def test_recommended_settings_fit_few_videos(tmp_path, capsys):
    """From the folder, by the real commands; chance is one third."""
    size = '--train', '30', '--test', '6', '--seeds', '0'
    few_videos.main([str(tmp_path), *size, '--variants', 'recommended'])
    (row,) = map(json.loads, (tmp_path / 'results.jsonl').read_text().splitlines())
    assert row['train'] > 0.8
    assert '| recommended |' in capsys.readouterr().out
