"""oneDNN in place of MKL: only where it should be, and float32 all the same."""

import copy
import platform
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from projects.adamae import cpu
from projects.adamae.hooks import OneDNNHook
from projects.adamae.transformer import FusedAttention

DEFAULT = 'highest'


@pytest.mark.parametrize(
    'text, processor, expected',
    [
        ('vendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC', 'x86_64', True),
        ('vendor_id\t: GenuineIntel', 'x86_64', False),
        (None, 'AMD64 Family 26 Model 68 Stepping 0, AuthenticAMD', True),
        (None, 'arm', False),
    ],
)
def test_knows_amd(tmp_path, monkeypatch, text, processor, expected):
    path = tmp_path / 'cpuinfo'
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(cpu, '_CPUINFO', path)
    monkeypatch.setattr(platform, 'processor', lambda: processor)
    assert cpu._is_amd() is expected


def test_other_cpus_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(cpu, '_is_worth_it', lambda: False)
    assert not cpu.use_onednn()
    assert torch.get_float32_matmul_precision() == DEFAULT


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setattr(cpu, '_is_worth_it', lambda: True)
    products = torch.backends.mkldnn.matmul
    for change in (
        lambda: torch.set_float32_matmul_precision('medium'),
        lambda: setattr(products, 'fp32_precision', 'bf16'),  # the newer way
    ):
        try:
            change()
            assert not cpu.use_onednn()
            assert products.fp32_precision == 'bf16'
        finally:
            torch.set_float32_matmul_precision(DEFAULT)


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


@pytest.mark.parametrize('tokens, fused', [(512, False), (513, True)])
def test_short_sequences_are_plain_with_onednn(onednn, monkeypatch, tokens, fused):
    attention = FusedAttention(16, 2, qkv_bias=True).eval()
    calls = []
    kernel = F.scaled_dot_product_attention

    def counted(*args, **kwargs):
        calls.append(args)
        return kernel(*args, **kwargs)

    monkeypatch.setattr(F, 'scaled_dot_product_attention', counted)
    x = torch.randn(1, tokens, 16)
    found = attention(x)
    assert len(calls) == fused
    cpu.stop_onednn()
    assert_close(found, attention(x))
    assert len(calls) == fused + 1


def test_hook_lasts_for_a_run(monkeypatch):
    monkeypatch.setattr(cpu, '_is_worth_it', lambda: True)
    monkeypatch.setattr(cpu, '_rounds_operands', lambda multiply: False)
    runner = Mock()
    outer, inner = OneDNNHook(), OneDNNHook()
    for hook in (outer, inner):
        hook.before_run(runner)
        assert cpu.uses_onednn()
    inner.after_run(runner)
    assert cpu.uses_onednn()  # the outer run goes on
    outer.after_run(runner)
    assert not cpu.uses_onednn()
    assert torch.get_float32_matmul_precision() == DEFAULT
    runner.logger.info.assert_called_once()
