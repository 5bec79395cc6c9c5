"""oneDNN in place of MKL: only where it should be, and float32 all the same."""

import copy
import platform
from contextlib import nullcontext

import iteration_overhead as overhead
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import RUNNERS

from projects.adamae.utils import cpu
from tests.helpers import ROOT

DEFAULT = 'highest'


@pytest.mark.parametrize(
    'text, processor, expected',
    [
        ('vendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t: 2', '', True),
        ('vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t: 97', '', False),
        ('vendor_id\t: GenuineIntel\ncpu family\t: 26', '', False),
        (None, 'AMD64 Family 26 Model 68 Stepping 0, AuthenticAMD', True),
        (None, 'AMD64 Family 25 Model 97 Stepping 2, AuthenticAMD', False),
        (None, 'arm', False),
    ],
)
def test_knows_zen5(tmp_path, monkeypatch, text, processor, expected):
    path = tmp_path / 'cpuinfo'
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(cpu, '_CPUINFO', path)
    monkeypatch.setattr(platform, 'processor', lambda: processor)
    assert cpu._is_zen5() is expected


def test_other_cpus_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(cpu, '_is_worth_it', lambda: False)
    assert not cpu.use_onednn()
    assert torch.get_float32_matmul_precision() == DEFAULT


def set_by_the_newer_way():
    torch.backends.mkldnn.matmul.fp32_precision = 'tf32'


@pytest.mark.parametrize(
    'change',
    [
        lambda: torch.set_float32_matmul_precision('high'),
        pytest.param(
            set_by_the_newer_way,
            marks=pytest.mark.skipif(
                not hasattr(torch.backends.mkldnn, 'matmul'), reason='torch < 2.9'
            ),
        ),
    ],
)
@pytest.mark.parametrize('first', [True, False])
def test_what_the_user_has_set_stays(monkeypatch, change, first):
    monkeypatch.setattr(cpu, '_is_worth_it', lambda: True)
    monkeypatch.setattr(cpu, '_rounds_operands', lambda multiply: False)
    before = cpu._precision()
    try:
        if first:
            change()
            assert not cpu.use_onednn()
        else:
            assert cpu.use_onednn()
            change()
            cpu.stop_onednn()
        assert cpu._precision() != before
    finally:
        torch.set_float32_matmul_precision(DEFAULT)


def test_any_default_dtype(monkeypatch):
    monkeypatch.setattr(cpu, '_is_worth_it', lambda: True)
    torch.set_default_dtype(torch.float64)
    try:
        cpu.use_onednn()
    finally:
        torch.set_default_dtype(torch.float32)


def test_rounded_operands_are_noticed(monkeypatch):
    """As on a CPU with AMX, where oneDNN would multiply bfloat16."""

    def multiply(a, b):
        return (a.bfloat16().double() @ b.bfloat16().double()).float()

    assert cpu._rounds_operands(multiply)
    assert not cpu._rounds_operands(torch.matmul)
    monkeypatch.setattr(cpu, '_is_worth_it', lambda: True)
    monkeypatch.setattr(torch, 'matmul', multiply)
    assert not cpu.use_onednn()
    assert torch.get_float32_matmul_precision() == DEFAULT


def test_products_stay_float32(onednn):
    """Forward and backward, as long and as wide as those of a step."""
    for rows, width in ((156, 96), (1568, 384)):
        layer = torch.nn.Linear(width, 3 * width)
        exact = copy.deepcopy(layer).double()
        x, gradient = torch.randn(2, rows, width), torch.randn(2, rows, 3 * width)

        def results(layer, x, gradient):
            y = layer(x.requires_grad_())
            return y, *torch.autograd.grad(y, [x, *layer.parameters()], gradient)

        expected = results(exact, x.double(), gradient.double())
        for a, b in zip(results(layer, x, gradient), expected, strict=True):
            assert (a - b).abs().max() < 2e-6 * b.abs().max()


def test_blocks(onednn):
    with cpu.onednn(False):
        assert not cpu.uses_onednn()
        with cpu.onednn():
            assert cpu.uses_onednn()
        assert not cpu.uses_onednn()
    assert cpu.uses_onednn()


class Watch(Hook):
    """Notes the switch at the first step; fails there if told to."""

    def __init__(self, fail=False):
        self.fail = fail

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen = cpu.uses_onednn()
        if self.fail:
            raise ArithmeticError


@pytest.fixture
def train(tmp_path, monkeypatch):
    monkeypatch.setenv('MOTION_DATA', 'nowhere')
    monkeypatch.setattr(cpu, '_is_worth_it', lambda: True)
    monkeypatch.setattr(cpu, '_rounds_operands', lambda multiply: False)
    base = Config.fromfile(ROOT / 'configs/demo/motion_pretrain.py')
    base.train_dataloader.batch_size = 1

    def run(fail=False, runner_type='Runner', **options):
        cfg = Config(overhead.toy_run(base, 1))
        cfg.merge_from_dict(options)
        cfg.train_cfg.max_epochs, cfg.param_scheduler = 1, None
        cfg.work_dir = str(tmp_path)
        cfg.experiment_name = f'run_{fail}_{runner_type}_{len(options)}'
        cfg.runner_type = runner_type
        runner = RUNNERS.build(cfg)
        watch = Watch(fail)
        runner.register_hook(watch)
        with pytest.raises(ArithmeticError) if fail else nullcontext():
            runner.train()
        return watch.seen

    return run


ON = {'default_hooks.onednn.enabled': True}


@pytest.mark.parametrize('runner_type', ['Runner', 'FlexibleRunner'])
def test_hook_lasts_for_a_run(train, runner_type):
    assert train(runner_type=runner_type, **ON)
    assert not cpu.uses_onednn()
    assert torch.get_float32_matmul_precision() == DEFAULT


def test_hook_after_a_run_that_failed(train):
    assert train(fail=True, **ON)
    assert not train()  # the toy run has it switched off
    train(fail=True, **ON)
    assert train(**ON)
    assert torch.get_float32_matmul_precision() == DEFAULT
