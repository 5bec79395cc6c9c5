"""oneDNN in place of MKL: only where it should be, and float32 all the same."""

import copy
import platform
from unittest.mock import Mock

import pytest
import torch

from projects.adamae.engine.hooks import OneDNNHook
from projects.adamae.utils import cpu


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


@pytest.fixture
def worth_it(monkeypatch):
    """As on a CPU that is faster with oneDNN, and as exact."""
    monkeypatch.setattr(cpu, '_is_worth_it', lambda: True)
    monkeypatch.setattr(cpu, '_rounds_operands', lambda multiply: False)


def test_other_cpus_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(cpu, '_is_worth_it', lambda: False)
    assert not cpu.use_onednn()
    assert torch.get_float32_matmul_precision() == 'highest'


@pytest.mark.parametrize('newer_api', [False, True])
@pytest.mark.parametrize('first', [True, False])
def test_what_the_user_has_set_stays(worth_it, newer_api, first):
    def change():
        if newer_api:
            torch.backends.mkldnn.matmul.fp32_precision = 'tf32'
        else:
            torch.set_float32_matmul_precision('high')

    if newer_api and not hasattr(torch.backends.mkldnn, 'matmul'):
        pytest.skip('torch < 2.9')
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
        torch.set_float32_matmul_precision('highest')


@pytest.mark.parametrize('default_dtype', [torch.float32, torch.float64])
def test_rounded_operands_are_noticed(monkeypatch, default_dtype):
    """As on a CPU with AMX, where oneDNN would multiply bfloat16."""

    def multiply(a, b):
        return (a.bfloat16().double() @ b.bfloat16().double()).float()

    monkeypatch.setattr(cpu, '_is_worth_it', lambda: True)
    torch.set_default_dtype(default_dtype)
    try:
        assert cpu._rounds_operands(multiply)
        assert not cpu._rounds_operands(torch.matmul)
        monkeypatch.setattr(torch, 'matmul', multiply)
        assert not cpu.use_onednn()
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.get_float32_matmul_precision() == 'highest'


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
            # Operands of 8 bits, or of 11, would be further off.
            assert (a - b).abs().max() < 2e-5 * b.abs().max()


def test_blocks_and_runs(worth_it):
    assert cpu.use_onednn()
    with cpu.onednn(False):
        assert not cpu.uses_onednn()
        with cpu.onednn():
            assert cpu.uses_onednn()
        assert not cpu.uses_onednn()
    assert cpu.uses_onednn()
    cpu.stop_onednn()

    runner, hook = Mock(model=torch.nn.Identity()), OneDNNHook()
    hook.before_run(runner)
    assert cpu.uses_onednn()
    hook.after_run(runner)
    assert not cpu.uses_onednn()
    hook.before_run(runner)  # an error ends this run: nothing is called after it
    OneDNNHook(enabled=False).before_run(runner)
    assert not cpu.uses_onednn()
    assert torch.get_float32_matmul_precision() == 'highest'
