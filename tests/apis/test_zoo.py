"""Configs and models by name: ours, and through MMEngine's scope ``adamae``."""

import importlib
from fnmatch import fnmatch

import pytest
import torch
from mmengine import hub
from mmengine.config import Config
from mmengine.fileio import load
from mmengine.registry import MODELS, DefaultScope

from projects.adamae.apis.zoo import get_config, get_model, list_models
from tests.helpers import CONFIGS, ROOT, load_tool

DEMO = 'demo/motion_finetune'
STRANGER = """
_base_ = 'adamae::adamae/demo/motion_pretrain.py'
model = dict(backbone=dict(depth=1))
train_dataloader = dict(dataset=dict(pipeline=[_base_.init, _base_.sample]))
"""


def test_names():
    names = list_models()
    assert {'adamae_vitb_ssv2_pretrain', DEMO, 'ablations/epochs200'} <= {*names}
    assert names == sorted(names)
    assert not [n for n in names if '_base_' in n or n == 'demo/motion_base']
    tops = [path.stem for path in CONFIGS.glob('*.py')]
    assert list_models('*vitb*ssv2*') == sorted(
        name for name in names if fnmatch(name, '*vitb*ssv2*')
    )
    assert {*tops} < {*names}


def test_the_index_lists_every_config_and_promises_nothing():
    package = ROOT / 'projects/adamae_package'
    assert load(package / '.mim/model-index.yml') == {
        'Import': ['configs/adamae/metafile.yml']
    }
    models = load(CONFIGS / 'metafile.yml')['Models']
    assert [m['Name'] for m in models] == sorted(p.stem for p in CONFIGS.glob('*.py'))
    for model in models:
        assert model['Config'] == f'configs/adamae/{model["Name"]}.py'
        assert model['Weights'] is None
        if 'Results' in model:
            assert 'not measured here' in model['Metadata']['Results From']
            metrics = model['Results'][0]['Metrics']
            assert all(name.endswith('(paper)') for name in metrics)


def test_config_and_model():
    cfg = get_config(DEMO)
    assert cfg.model.cls_head.num_classes == 8
    assert get_config(str(CONFIGS / f'{DEMO}.py')).to_dict() == cfg.to_dict()
    with pytest.raises(FileNotFoundError, match=f'did you mean {DEMO}?'):
        get_config('demo/motion_fintune')
    model = get_model(DEMO)
    assert model.backbone.embed_dims == 96 and model.training


def test_model_with_weights(tmp_path):
    cfg = get_config(DEMO)
    cfg.model.backbone.depth = 1
    model = get_model(cfg)
    path = str(tmp_path / 'epoch_1.pth')
    torch.save({'state_dict': model.state_dict()}, path)
    loaded = get_model(cfg, pretrained=path)
    assert not loaded.training
    torch.testing.assert_close(loaded.state_dict(), model.state_dict())
    with pytest.raises(FileNotFoundError):
        get_model(cfg, pretrained=str(tmp_path / 'nothing.pth'))


def test_the_package_has_the_same_functions():
    package = importlib.import_module('adamae')
    assert package.get_model is get_model
    assert package.list_models() == list_models()


def test_a_config_of_somebody_else(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(STRANGER)
    cfg = Config.fromfile(path)
    assert cfg.model._scope_ == 'adamae'
    model = MODELS.build(cfg.model)
    assert type(model).__name__ == 'MAERecognizer' and len(model.backbone.blocks) == 1


def test_a_copied_config_is_the_same(tmp_path):
    for name in ('adamae_vitb_ssv2_pretrain', 'recipes/one_gpu_pretrain'):
        path = load_tool('configs').copy(name, tmp_path)
        copied = Config.fromfile(path).to_dict()
        _drop_scope(copied)
        assert copied == get_config(name).to_dict()


def _drop_scope(node):
    if isinstance(node, dict):
        node.pop('_scope_', None)
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, dict | list | tuple):
            _drop_scope(value)


def test_mmengines_hub():
    name = 'adamae::adamae/demo/motion_finetune.py'
    assert hub.get_config(name).model == get_config(DEMO).model
    before = DefaultScope.get_current_instance().scope_name
    assert type(hub.get_model(name)).__name__ == 'Recognizer3D'
    assert DefaultScope.get_current_instance().scope_name == before
