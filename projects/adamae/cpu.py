"""Settings that make training on a CPU faster, and leave results as they are.

PyTorch's x86 packages multiply float32 matrices with Intel's MKL, which leaves half of
the vector width of AMD's AVX-512 CPUs unused. oneDNN, in the same packages, uses all of
it. PyTorch hands float32 products to oneDNN where it was told that operands may be
rounded to bfloat16; without AMX, Intel's matrix units, oneDNN cannot make use of that
and multiplies in float32.

Source: docs/benchmarks.md, "A training step on the CPU"; PyTorch,
``torch.set_float32_matmul_precision``; glibc, ``mallopt(3)``.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
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
_in_use = False


def use_onednn() -> bool:
    """Multiply with oneDNN from now on, where that is faster and float32 all the same.

    That is: no accelerator, an AMD CPU with AVX-512, a PyTorch with MKL and oneDNN, a
    precision of products that nobody has set, and trial products that are float32.

    Returns:
        bool: whether oneDNN is in use.
    """
    global _in_use
    if not _in_use and _is_worth_it() and _is_unset():
        torch.set_float32_matmul_precision('medium')
        _in_use = True
        if _rounds_operands(torch.matmul):
            stop_onednn()
    return _in_use


def stop_onednn() -> None:
    """Take :func:`use_onednn` back."""
    global _in_use
    if _in_use:
        torch.set_float32_matmul_precision('highest')
        _in_use = False


def uses_onednn() -> bool:
    """Whether :func:`use_onednn` has taken effect."""
    return _in_use


@cache
def _is_worth_it() -> bool:
    return (
        get_device() == 'cpu'
        and torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() == 'AVX512'
        and _is_amd()
    )


def _is_unset() -> bool:
    try:
        return torch.get_float32_matmul_precision() == 'highest'
    except RuntimeError:  # set by PyTorch's newer way, which the older cannot express
        return False


def _is_amd() -> bool:
    """Whether the CPU is AMD's; Windows says it in ``platform.processor``."""
    linux = _CPUINFO.read_text(encoding='utf-8') if _CPUINFO.is_file() else ''
    return 'AuthenticAMD' in linux + platform.processor()


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
        a = torch.full((*batch, rows, depth), 1 + 2**-12)
        for b in (a.mT, a.mT.contiguous()):
            exact = (a.double() @ b.double()).float()
            if not torch.allclose(multiply(a, b), exact, rtol=2**-15):
                return True
    return False
