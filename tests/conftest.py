"""Options and fixtures of all tests."""

import gc

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

import projects.adamae  # noqa: F401  registers the components, before anything else
from projects.adamae.utils import cpu

# Every dataset of MMEngine collects garbage when it is built: half a second with all
# that was imported above.
gc.freeze()


def pytest_addoption(parser):
    parser.addoption('--runslow', action='store_true', help='run slow tests too')


def pytest_collection_modifyitems(config, items):
    if config.getoption('--runslow'):
        return
    for item in items:
        if 'slow' in item.keywords:
            item.add_marker(pytest.mark.skip(reason='slow: needs --runslow'))


@pytest.fixture(autouse=True)
def _fresh_start():
    init_default_scope('mmaction')  # as `default_scope` does in every config
    torch.manual_seed(0)
    np.random.seed(0)
    yield
    cpu.stop_onednn()


@pytest.fixture
def onednn(monkeypatch):
    """Products by oneDNN, on any CPU that computes them in float32."""
    monkeypatch.setattr(cpu, '_is_worth_it', lambda: True)
    if not cpu.use_onednn():
        pytest.skip('products on this CPU would have rounded operands')
