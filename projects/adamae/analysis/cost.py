"""What a training run takes: arithmetic, GPU hours, loader cores. Estimates."""

from __future__ import annotations

from collections.abc import Callable

from torch.utils.flop_counter import FlopCounterMode

from .memory import TrainingStep, faked

# Peak rate in half precision on tensor cores, dense, FLOP/s, from NVIDIA's data sheets.
GPUS = {
    'V100': 125e12,
    'A100': 312e12,
    'H100 SXM': 989e12,
    'H200 SXM': 989e12,
}


def step_flops(make: Callable[[], TrainingStep]) -> int:
    """Count the arithmetic of a training step, on tensors without memory.

    Counted are the matrix products and convolutions of forward and backward pass,
    those of attention and of recomputed activations included; a multiply-add is two.

    Args:
        make (Callable[[], TrainingStep]): called where all tensors are fake.

    Returns:
        int: FLOP.
    """
    with faked():
        step = make()
        with FlopCounterMode(display=False) as counter:
            step.run()
    return counter.get_total_flops()


def gpu_hours(clips: float, flops: float, peak: float, utilization: float) -> float:
    """Estimate GPU hours: clips x FLOP per clip / (peak rate x utilization) / 3600.

    Args:
        clips (float): clips trained on, over all epochs.
        flops (float): FLOP per clip, forward and backward.
        peak (float): FLOP/s of a GPU, see ``GPUS``.
        utilization (float): the share of it that is reached, in (0, 1].

    Returns:
        float: hours of one GPU.

    Raises:
        ValueError: if ``utilization`` is not in (0, 1].
    """
    if not 0 < utilization <= 1:
        raise ValueError(f'utilization: expected a number in (0, 1], got {utilization}')
    return clips * flops / (peak * utilization) / 3600


def loader_cores(
    flops: float, peak: float, utilization: float, clips_per_core: float
) -> float:
    """Estimate the CPU cores that keep a GPU busy.

    Args:
        flops (float): FLOP per clip, forward and backward.
        peak (float): FLOP/s of a GPU.
        utilization (float): the share of it that is reached, in (0, 1].
        clips_per_core (float): clips per second that a core loads.

    Returns:
        float: clips per second of the GPU over those of a core.
    """
    return peak * utilization / flops / clips_per_core
