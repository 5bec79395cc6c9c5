"""Every option, snippet and command of docs/options.md works."""

import ast
import re

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.config import Config, DictAction

from tests.helpers import ROOT

PAGE = (ROOT / 'docs/options.md').read_text()
SNIPPETS = [
    ast.unparse(statement.value)
    for code in re.findall(r'```python\n(.*?)```', PAGE, re.S)
    for statement in ast.parse(code).body
]
# Of the table: the option, with its value where there is one, and the default.
ROWS = re.findall(r'^\| `([\w.]+)` ?(.*?) \|.*\| `?([\w.\']+).*? \|$', PAGE, re.M)
CLIPS = torch.randn(2, 3, 16, 32, 32, generator=torch.Generator().manual_seed(0))


def model_with(options):
    cfg = Config.fromfile(ROOT / 'configs/demo/motion_pretrain.py')
    cfg.merge_from_dict(options)
    return MODELS.build(cfg.model)


def losses_with(options):
    losses = model_with(options)(CLIPS, None, 'loss')
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    assert all(v.isfinite() for v in losses.values())
    return losses


@pytest.mark.parametrize('snippet', SNIPPETS)
def test_snippet(snippet):
    losses = losses_with(dict(model=eval(snippet)))
    assert ('loss_entropy' in losses) == ('entropy_weight' in snippet)


def test_page_has_its_snippets_and_options():
    assert len(SNIPPETS) == 7 and len(ROWS) == 11


def test_command():
    (command,) = re.findall(r'--cfg-options \\\n(.*)\n```', PAGE)
    pairs = (pair.split('=') for pair in command.split())
    losses_with({key: DictAction._parse_int_float_bool(value) for key, value in pairs})


@pytest.mark.parametrize('option, values, default', ROWS)
def test_option_is_off_by_default(option, values, default):
    model = model_with({})
    sampler, loss = model.sampler, model.criterion
    found = {
        'model.subset': model.subset,
        'sampler': type(sampler).__name__,
        'sampler.temperature': sampler.temperature,
        'sampler.mix_uniform': sampler.mix_uniform,
        'sampler.drop_rate': sampler.blocks[0].drop_path.p,
        'loss.entropy_weight': loss.entropy_weight,
        'loss.baseline': loss.baseline,
        'loss.policy': {'log_probability': 'log'}[loss.policy.__name__],
    }
    assert found[option] == ast.literal_eval(default)


def test_options_without_a_snippet():
    losses_with({'model.sampler.drop_rate': 0.0})
    control = dict(type='FrameDifferenceSamplerHead', mask_ratio=0.95, _delete_=True)
    losses_with({'model.sampler': control})
