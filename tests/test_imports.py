"""What importing the project loads, and that what it does not load works."""

import importlib
import inspect
import re
import sys

import pytest
from mmengine.fileio import file_client

from projects.adamae import compat
from tests.helpers import run_command

IMPORT = """
import sys
import projects.adamae
slow = 'scipy.stats', 'torch._dynamo', 'transformers'
print(*(name for name in slow if name in sys.modules), sep=',')

import torch
from mmaction.datasets.transforms import pose_transforms
from mmengine.registry import OPTIMIZERS

print(int(pose_transforms.get_mode([3, 5, 5])[0][0]))
if 'Adafactor' in OPTIMIZERS:
    cfg = dict(type='Adafactor', params=[torch.ones(2, requires_grad=True)])
    optimizer = OPTIMIZERS.build(cfg)
    assert type(optimizer) is sys.modules['transformers'].Adafactor
"""


def test_what_is_slow_is_loaded_when_it_is_called():
    python = (sys.executable, '-W', 'ignore')
    done = run_command(*python, '-c', IMPORT, OMP_NUM_THREADS='1')
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ['', '5']


@pytest.mark.parametrize(
    ('importer', 'name', 'function'),
    [
        ('mmaction.datasets.transforms.pose_transforms', 'scipy.stats', 'mode'),
        ('mmengine.optim.optimizer.builder', 'transformers', 'Adafactor'),
        (
            'torchvision.ops.roi_align',
            'torch._dynamo.utils',
            'is_compile_supported',
        ),
    ],
)
def test_others_still_import_it_in_any_case(importer, name, function):
    source = inspect.getsource(importlib.import_module(importer))
    assert re.search(rf'^ *from {name} import {function}$', source, re.M)
    # And only call it.
    assert len(re.findall(rf'\b{function}\b', source)) > 1


def test_a_stand_in_gives_the_rest_of_the_module(monkeypatch):
    monkeypatch.delitem(sys.modules, 'wave', raising=False)
    with compat.deferred('wave', 'open'):
        import wave
        from wave import open as deferred_open

        assert 'wave' not in inspect.getfile(deferred_open)
        assert not hasattr(wave, '__file__')
        assert issubclass(wave.Error, Exception)  # that needs the real one
        assert sys.modules['wave'] is not wave
    import wave as real

    with pytest.raises(FileNotFoundError):
        deferred_open('nowhere.wav')
    assert real is sys.modules['wave'] and real.__file__
    monkeypatch.delitem(sys.modules, 'wave')
    with compat.deferred('wave', 'open'):
        import wave  # noqa: F401
    assert 'wave' not in sys.modules


def test_file_client_still_logs_its_deprecation_only():
    source = inspect.getsource(file_client)
    calls = re.findall(r'print_log\((.*?)\)\n', source, re.S)
    assert len(calls) == 2 and all('deprecated' in call for call in calls)
    file_client.print_log('nothing')
    users = inspect.getsource(importlib.import_module('mmengine.hooks.checkpoint_hook'))
    assert 'FileClient.infer_client' in users
