"""Every snippet and command of docs/options.md works."""

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
CLIPS = torch.randn(2, 3, 16, 32, 32, generator=torch.Generator().manual_seed(0))


def losses_with(options):
    cfg = Config.fromfile(ROOT / 'configs/demo/motion_pretrain.py')
    cfg.merge_from_dict(options)
    losses = MODELS.build(cfg.model)(CLIPS, None, 'loss')
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    assert all(v.isfinite() for v in losses.values())
    return losses


@pytest.mark.parametrize('snippet', SNIPPETS)
def test_snippet(snippet):
    losses = losses_with(dict(model=eval(snippet)))
    assert ('loss_entropy' in losses) == ('entropy_weight' in snippet)


def test_page_has_its_snippets():
    assert len(SNIPPETS) == 7


def test_command():
    (command,) = re.findall(r'--cfg-options \\\n(.*)\n```', PAGE)
    pairs = (pair.split('=') for pair in command.split())
    losses_with({key: DictAction._parse_int_float_bool(value) for key, value in pairs})


def test_every_option_of_the_table_is_off_by_default():
    cfg = Config.fromfile(ROOT / 'configs/demo/motion_pretrain.py')
    model = MODELS.build(cfg.model)
    assert model.subset is None
    assert (model.sampler.temperature, model.sampler.mix_uniform) == (1, 0)
    loss = model.criterion
    assert (loss.policy.__name__, loss.baseline) == ('log_probability', None)
    assert loss.entropy_weight == 0
