"""Plans beside real runs: the settings are runs that can be planned."""

import pytest
from mmengine.config import Config

from projects.adamae.launch.options import parse_options
from tests.helpers import CONFIGS, load_tool

SETTINGS = load_tool('benchmarks/plan_check').SETTINGS


@pytest.mark.parametrize('name', SETTINGS)
def test_settings_fit_their_configs(name):
    setting = SETTINGS[name]
    cfg = Config.fromfile(CONFIGS / setting.config)
    given = dict(option.split('=', 1) for option in setting.options)
    cfg.merge_from_dict(parse_options(cfg.to_dict(), given))
    backbone = cfg.model.backbone
    assert backbone.embed_dims % backbone.num_heads == 0
    assert cfg.train_cfg.get('max_epochs', 0) <= 11
