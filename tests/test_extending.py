"""docs/extending.md, from its text: a masking strategy, a loss and a data set train."""

import json
import re
import sys

import pytest
from mmaction.registry import DATASETS, MODELS

from tests.helpers import CONFIGS, ROOT, run_tool, write_videos

PAGE = (ROOT / 'docs/extending.md').read_text('utf-8')
BLOCKS = re.findall(r'```python\n(.*?)```', PAGE, re.S)
PARTS = [block for block in BLOCKS if '_base_' not in block]
TINY = {
    'model.backbone.depth': 1,
    'model.decoder.depth': 1,
    'train_dataloader.batch_size': 2,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'train_cfg.max_epochs': 2,
    'param_scheduler.0.end': 1,
    'param_scheduler.1.begin': 1,
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files that the page names, where it says they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'configs').symlink_to(CONFIGS)
    (tmp_path / 'my_parts.py').write_text('\n'.join(PARTS))
    named = re.findall(
        r'^`(\w+\.py)`(?:, a config)?:\n\n```python\n(.*?)```', PAGE, re.S | re.M
    )
    for name, text in named:
        (tmp_path / name).write_text(text)
    data = tmp_path / 'data/motion'
    lines = write_videos(data / 'videos', count=4, size=(32, 32))
    (data / 'train.txt').write_text('\n'.join(lines))
    (data / 'val.txt').write_text('\n'.join(lines))
    rows = [dict(path=p, label=int(k)) for p, k in map(str.split, lines)]
    (data / 'train.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    yield [name for name, _ in named]
    sys.modules.pop('my_parts', None)
    for registry, name in (
        (MODELS, 'CenterSampler'),
        (MODELS, 'HuberAdaMAELoss'),
        (DATASETS, 'JsonLinesVideoDataset'),
    ):
        registry.module_dict.pop(name, None)


def test_the_examples_train(folder):
    assert folder == ['center_pretrain.py', 'huber_pretrain.py', 'json_pretrain.py']
    for name in folder:
        run_tool('train', name, '--no-validate', **TINY)


def test_a_masking_strategy_is_at_most_twelve_lines():
    lines = [line for line in PARTS[0].splitlines() if line.strip()]
    assert len(lines) <= 12
