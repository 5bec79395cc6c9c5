"""Settings that make a CPU faster and change results by no more than rounding.

PyTorch's x86 packages multiply float32 matrices with Intel's MKL, which reaches half of
the rate of oneDNN, in the same packages, on AMD's Zen 5: it does not use all of the
vector width there. (Earlier ones have units half as wide.) PyTorch hands float32
products to oneDNN where operands may be rounded to bfloat16; without AMX, Intel's
matrix units, oneDNN does not use that and multiplies in float32.

Source: docs/benchmarks.md, "A training step on the CPU"; PyTorch,
``torch.set_float32_matmul_precision``; glibc, ``mallopt(3)``.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from mmengine.device import get_device
from torch import Tensor

# glibc hands large buffers back and pages them in again at every step, which on a CPU
# takes as long as the arithmetic of a small model. Read when a process starts.
KEEP_FREED_MEMORY = {
    'MALLOC_MMAP_MAX_': '0',
    'MALLOC_TRIM_THRESHOLD_': str(1 << 36),
}
_CPUINFO = Path('/proc/cpuinfo')
_ZEN5 = 26  # the family of AMD's CPUs with vector units 512 bits wide
_in_use = False


def use_onednn() -> bool:
    """Multiply with oneDNN from now on, where that is faster and float32 all the same.

    That is: no accelerator, an AMD CPU from Zen 5 on with AVX-512, a PyTorch with MKL
    and oneDNN, PyTorch's precision of float32 products at its strictest, and trial
    products that are float32.

    Returns:
        bool: whether oneDNN is in use.
    """
    global _in_use
    if not _in_use and _is_worth_it() and _precision() == 'highest':
        torch.set_float32_matmul_precision('medium')
        if _rounds_operands(torch.matmul):
            torch.set_float32_matmul_precision('highest')
        else:
            _in_use = True
    return _in_use


def stop_onednn() -> None:
    """Take :func:`use_onednn` back; a precision that was set since then stays."""
    global _in_use
    if _in_use and _precision() == 'medium':
        torch.set_float32_matmul_precision('highest')
    _in_use = False


def uses_onednn() -> bool:
    """Whether :func:`use_onednn` has taken effect."""
    return _in_use


@contextmanager
def onednn(enabled: bool = True) -> Iterator[None]:
    """Multiply as :func:`use_onednn` does, or as PyTorch does, within a block.

    Args:
        enabled (bool): which of the two. Defaults to True.
    """
    before = _in_use
    (use_onednn if enabled else stop_onednn)()
    try:
        yield
    finally:
        (use_onednn if before else stop_onednn)()


@cache
def _is_worth_it() -> bool:
    return (
        get_device() == 'cpu'
        and torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() == 'AVX512'
        and _is_zen5()
    )


def _precision() -> str | None:
    """PyTorch's precision of float32 products; None if only its newer API can tell."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


def _is_zen5() -> bool:
    """Whether this is AMD's CPU, of family 26 or later."""
    # Windows has in `processor` what Linux has in its file.
    linux = _CPUINFO.read_text(encoding='utf-8') if _CPUINFO.is_file() else ''
    text = linux or platform.processor()
    family = re.search(r'family\s*:?\s*(\d+)', text, re.IGNORECASE)
    return 'AuthenticAMD' in text and family is not None and int(family[1]) >= _ZEN5


def _rounds_operands(multiply: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Whether products of numbers that need 13 bits lose some of them.

    Args:
        multiply (Callable): takes two tensors of shape (..., M, K) and (..., K, N).

    Returns:
        bool: whether one of several shapes was computed from shorter numbers; bfloat16
        has 8 bits, TensorFloat-32 has 11.
    """
    shapes: tuple[tuple[int, ...], ...] = ((64, 64), (768, 768), (4, 128, 64))
    for *batch, rows, depth in shapes:
        value = torch.tensor(1 + 2**-12, dtype=torch.float32, device='cpu')
        left, right = (
            value.repeat(*batch, rows, depth),
            value.repeat(*batch, depth, rows),
        )
        # Layers multiply by transposed weights, their gradients by transposed inputs.
        for a in (left, right.mT):
            for b in (right, left.mT):
                exact = (a.double() @ b.double()).float()
                if not torch.allclose(multiply(a, b), exact, rtol=2**-15):
                    return True
    return False
