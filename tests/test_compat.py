"""Every work-around: the defect is still there without it, and gone with it."""

import builtins
import faulthandler
import gc
import importlib
import importlib.util
import inspect
import multiprocessing
import os
import pickle
import re
import sys
import zipfile
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import Mock

import decord
import mmengine.hooks.checkpoint_hook as checkpoint_hook
import mmengine.logging.history_buffer as history_buffer
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseDataPreprocessor
from mmengine.runner import FlexibleRunner, Runner

from projects.adamae import compat
from projects.adamae.utils.fileio import AtomicLocalBackend
from tests.helpers import run_command, write_videos

# A fresh interpreter applies compat without one of its functions, then imports
# what needs that function. Forked children share the cost of the first imports.
IMPORT_WITHOUT_ONE = """
import os, re, sys, types, warnings
import torch, mmengine.logging
# Slow, and nothing that compat changes.
import cv2, matplotlib.pyplot, torch.distributed.fsdp, torch.distributed.optim

warnings.filterwarnings('error', 'Fail to import')

# The package without its __init__, which would apply all of compat.
package = types.ModuleType('projects.adamae')
package.__path__ = [os.path.dirname(sys.argv[1])]
sys.modules[package.__name__] = package
source = open(sys.argv[1], encoding='utf-8').read()
for name in sys.argv[2:]:
    if os.fork() == 0:
        try:
            code = re.sub(rf'^([a-z_]+ = )?{name}\\(\\)$', '', source, flags=re.M)
            exec(code, {'__package__': package.__name__})
            import mmaction.models, mmpretrain.models, mmpretrain.datasets
            outcome = 'imported'
        except Exception as error:
            outcome = f'{type(error).__name__}: {error}'
        print(name, outcome, sep='|', flush=True)
        os._exit(0)
for name in sys.argv[2:]:
    os.wait()
"""


# What importing fails with, and whether it does with the packages of this machine.
OUTCOMES = dict(
    provide_drn=("No module named 'mmaction.models.localizers.drn'", True),
    declare_torchvision_operators=(
        'operator torchvision::nms does not exist',
        compat._torchvision_operators is not None,
    ),
    disable_multimodal_models=(
        'timm|apply_chunking_to_forward',
        find_spec('transformers') is not None,
    ),
    quiet_mmcv_lite=('MultiScaleDeformableAttention', find_spec('mmcv._ext') is None),
)


def test_imports_still_fail_without():
    needed = [name for name, (_, is_needed) in OUTCOMES.items() if is_needed]
    result = run_command(
        *(sys.executable, '-W', 'ignore', '-c', IMPORT_WITHOUT_ONE),
        *(compat.__file__, *needed),
        OMP_NUM_THREADS='1',
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    found = dict(line.split('|', 1) for line in lines if '|' in line)
    for name in needed:
        assert re.search(OUTCOMES[name][0], found[name]), name


def test_absent_model_is_not_registered():
    with pytest.raises(KeyError, match='DRN is not in the mmaction::model registry'):
        MODELS.build(dict(type='DRN'))


@pytest.mark.skipif(
    compat._torchvision_operators is None,
    reason="torchvision's native library loads on this machine",
)
def test_torchvision_rejects_operators_without_kernel():
    import torchvision

    with pytest.raises(RuntimeError, match="Couldn't load custom C"):
        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)


def test_history_buffer_still_pickles_getattr(monkeypatch):
    """An untouched copy of MMEngine's module, under a name of its own."""
    spec = importlib.util.spec_from_file_location('fresh', history_buffer.__file__)
    fresh = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, 'fresh', fresh)
    spec.loader.exec_module(fresh)
    assert b'getattr' in pickle.dumps(fresh.HistoryBuffer(), protocol=2)
    assert b'getattr' not in pickle.dumps(HistoryBuffer(), protocol=2)


@pytest.mark.parametrize('values', [[0.5, 0.25], [1, 2, 3], [True]])
def test_history_buffer_survives_the_safe_loader(tmp_path, values):
    buffer = HistoryBuffer(values, [2] * len(values), max_length=7)
    torch.save(buffer, tmp_path / 'buffer.pth')
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with pytest.raises(pickle.UnpicklingError, match='HistoryBuffer'):
            torch.load(tmp_path / 'buffer.pth')
    finally:
        torch.serialization.add_safe_globals(allowed)
    loaded = torch.load(tmp_path / 'buffer.pth')
    for got, expected in zip(loaded.data, buffer.data, strict=True):
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype
    assert loaded.max_length == 7
    loaded.update(1.0, 2)
    assert loaded.statistics('current') == 1.0


def test_history_buffer_reads_what_mmengine_wrote():
    old_state = dict(
        max_length=5,
        _log_history=np.array([1.0]),
        _count_history=np.array([1]),
        statistics_methods={'mean': print},
    )
    buffer = HistoryBuffer()
    buffer.__setstate__(old_state)
    assert buffer.statistics('mean') == 1.0
    assert HistoryBuffer._statistics_methods['mean'] is HistoryBuffer.mean


@pytest.mark.parametrize('module', ['numpy.core', 'numpy._core'])
def test_numpy_arrays_of_either_version_load(tmp_path, module):
    """NumPy 1 wrote ``numpy.core`` where NumPy 2 writes ``numpy._core``."""
    written, renamed = tmp_path / 'written.pth', tmp_path / 'renamed.pth'
    torch.save([np.arange(3.0), np.float64(2.0)], written)
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(renamed, 'w') as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith('data.pkl'):
                assert b'numpy._core' in content
                content = content.replace(b'numpy._core', module.encode())
            target.writestr(name, content)
    array, scalar = torch.load(renamed, weights_only=True)
    np.testing.assert_array_equal(array, [0.0, 1.0, 2.0])
    assert scalar == 2.0
    # Arrays of objects could hold anything.
    assert np.dtypes.ObjectDType not in torch.serialization.get_safe_globals()


class Attack:
    """Is pickled as a call of ``function`` with ``arguments``."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize(
    'attack',
    [
        lambda path: Attack(os.system, f'touch {path}'),
        lambda path: Attack(getattr, HistoryBuffer, '__init__'),
        lambda path: Attack(builtins.eval, f'open({str(path)!r}, "w")'),
        lambda path: OrderedDict(
            message_hub=dict(
                log_scalars=dict(loss=HistoryBuffer(), x=Attack(os.mkdir, str(path)))
            )
        ),
    ],
    ids=['os.system', 'getattr', 'eval', 'inside a message hub'],
)
def test_malicious_checkpoint_is_rejected(tmp_path, attack):
    trace = tmp_path / 'executed'
    torch.save(attack(trace), tmp_path / 'attack.pth')
    with pytest.raises(pickle.UnpicklingError, match='Weights only load failed'):
        torch.load(tmp_path / 'attack.pth')
    assert not trace.exists()


def test_numpy_still_meets_bfloat16_scores_in_classifiers():
    head = MODELS.build(dict(type='TimeSformerHead', num_classes=7, in_channels=4))
    samples = [ActionDataSample().set_gt_label(k) for k in (0, 3)]
    scores = torch.randn(2, 7).bfloat16()
    with pytest.raises(TypeError, match='BFloat16'):
        type(head).loss_by_feat.__wrapped__(head, scores, samples)
    losses = head.loss_by_feat(scores, samples)
    expected = head.loss_by_feat(scores.float(), samples)
    assert losses['loss_cls'] == expected['loss_cls']


@pytest.mark.parametrize(
    ('backend', 'content'), [(LocalBackend, ''), (AtomicLocalBackend, 'old')]
)
def test_mmengine_still_empties_a_file_before_it_writes(tmp_path, backend, content):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(TypeError):
        backend().put('not bytes', path)
    assert path.read_text() == content
    assert isinstance(get_file_backend(str(path)), AtomicLocalBackend)


@pytest.mark.parametrize('is_fixed', [False, True])
def test_mmengine_still_empties_its_pointer(tmp_path, monkeypatch, is_fixed):
    if not is_fixed:
        monkeypatch.delattr(checkpoint_hook, 'open')
    hook = checkpoint_hook.CheckpointHook()
    runner = Mock(work_dir=str(tmp_path))
    hook.file_backend = Mock(**{'join_path.return_value': 'epoch_1.pth'})
    hook._save_checkpoint_with_step(runner, 1, {})
    pointer = tmp_path / 'last_checkpoint'
    assert pointer.read_text() == 'epoch_1.pth'
    hook.file_backend = Mock(**{'join_path.return_value': 2})  # cannot be written
    with pytest.raises(TypeError):
        hook._save_checkpoint_with_step(runner, 2, {})
    assert pointer.read_text() == ('epoch_1.pth' if is_fixed else '')


# Of MMEngine 0.10.7 and torch 2.13.0; one file of the package may use each.
@pytest.mark.parametrize(
    ('owner', 'names'),
    [
        (Runner, ['_load_from', '_resume', '_train_loop']),
        (FlexibleRunner, ['_load_from', '_resume', '_train_loop']),
        (BaseDataPreprocessor, ['_non_blocking']),
        (torch.autograd.graph, ['_engine_run_backward']),
        (torch.utils._python_dispatch, ['_disable_current_modes']),
    ],
)
def test_private_names_are_still_there(owner, names):
    package = Path(compat.__file__).parent
    sources = [path.read_text('utf-8') for path in package.rglob('*.py')]
    for pattern in (re.compile(rf'\b{name}\b') for name in names):
        assert pattern.search(inspect.getsource(owner))
        assert sum(pattern.search(source) is not None for source in sources) == 1


def _thaw_and_collect():
    faulthandler.disable()  # its crash is expected
    gc.unfreeze()
    gc.collect()


def test_forked_processes_still_die_of_the_garbage_of_their_parent(tmp_path):
    """They hang or crash once they collect a decoder without its threads."""
    write_videos(tmp_path, 1)
    processes = []
    gc.disable()
    try:
        garbage = [decord.VideoReader(str(tmp_path / '0.mp4'))]
        garbage.append(garbage)
        del garbage
        for collect in (gc.collect, _thaw_and_collect):
            context = multiprocessing.get_context('fork')
            processes.append(context.Process(target=collect))
            processes[-1].start()
    finally:
        gc.enable()
    processes[0].join(timeout=60)
    assert processes[0].exitcode == 0
    processes[1].join(timeout=2)
    assert processes[1].exitcode != 0, 'all is well: drop the work-around'
    processes[1].kill()
    processes[1].join()


@pytest.mark.parametrize('runner', [Runner, FlexibleRunner])
def test_scoped_collate_fn(runner):
    cfg = dict(
        dataset=[],
        batch_size=1,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='repeat_pseudo_collate', _scope_='adamae'),
    )
    loader = runner.build_dataloader(cfg)
    assert loader.collate_fn([[1, 2], [3, 4]]) == [1, 2, 3, 4]
    assert cfg['collate_fn']['_scope_'] == 'adamae'
    collate = runner.build_dataloader.__wrapped__(cfg).collate_fn
    with pytest.raises(TypeError, match='_scope_'):
        collate([[1, 2], [3, 4]])


def test_mmengine_still_imports_pkg_resources():
    # tests/test_package.py reads a config without its warning.
    source = inspect.getsource(importlib.import_module('mmengine.utils.package_utils'))
    assert 'from pkg_resources import' in source
