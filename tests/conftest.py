"""Options and fixtures of all tests."""

import copy
import gc
import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

import projects.adamae  # noqa: F401  registers the components, before anything else
from projects.adamae.engine.hooks.stop_on_signal_hook import SIGNALS
from projects.adamae.utils import cpu
from tests.helpers import CONFIGS, ROOT

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


@pytest.fixture(scope='session', autouse=True)
def _plain_layout_of_configs():
    """Half of a toy run would be spent on the layout of the config that it logs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('mmengine.config.config.FormatCode', lambda text, **_: (text, 1))
        yield


@pytest.fixture(scope='session', autouse=True)
def _shipped_configs_are_read_once():
    """With their bases, they are read some thousand times, 25 ms each.

    No test changes them, and MOTION_DATA is the only variable that one of them reads;
    some look for lists of videos below the present folder.
    """
    read, known = Config._file2dict, {}

    def read_once(filename, *args, **kwargs):
        if not str(filename).startswith(f'{CONFIGS}/') or Path.cwd() != ROOT:
            return read(filename, *args, **kwargs)
        data = os.environ.get('MOTION_DATA')
        key = (str(filename), data, *args, *sorted(kwargs.items()))
        if key not in known:
            known[key] = read(filename, *args, **kwargs)
        return copy.deepcopy(known[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, '_file2dict', staticmethod(read_once))
        yield


@pytest.fixture(autouse=True)
def _fresh_start():
    init_default_scope('mmaction')  # as `default_scope` does in every config
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    cpu.stop_onednn()
    for number, handler in handlers.items():
        signal.signal(number, handler)  # a run that fails leaves its own


@pytest.fixture
def onednn(monkeypatch):
    """Products by oneDNN, on any CPU that computes them in float32."""
    monkeypatch.setattr(cpu, '_is_worth_it', lambda: True)
    if not cpu.use_onednn():
        pytest.skip('products on this CPU would have rounded operands')


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Run what is not marked for a GPU as on a machine without one.

    This holds for module fixtures and for the processes that a test starts, too.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not item.get_closest_marker('gpu'):
            patch.setenv('CUDA_VISIBLE_DEVICES', '')
            patch.setattr('torch.cuda.is_available', lambda: False)
            patch.setattr('torch.cuda.device_count', lambda: 0)
            patch.setattr('mmengine.device.utils.DEVICE', 'cpu')
        return (yield)


def pytest_runtest_setup(item):
    if item.get_closest_marker('gpu') and not torch.cuda.is_available():
        pytest.skip('gpu: needs one that PyTorch can use')
