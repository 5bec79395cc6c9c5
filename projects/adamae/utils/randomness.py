"""Random numbers that depend on where a run is, and on nothing else."""

from __future__ import annotations

import random

import numpy as np
import torch
from mmengine.device import get_device
from torch.utils.data import get_worker_info


def seed_generators(*numbers: int) -> None:
    """Seed Python's, NumPy's and PyTorch's generators of this process with numbers.

    A run that is seeded anew in every iteration, with its number, draws the same
    whether it was interrupted before or not. Tuples of numbers that differ give
    independent streams (NumPy's ``SeedSequence``), neighbors too.

    Args:
        *numbers (int): not negative, such as seed, rank and iteration.
    """
    state = np.random.SeedSequence(numbers).generate_state(4)
    random.seed(int(state[0]))
    np.random.seed(state[1])
    seed = int(state[2]) << 32 | int(state[3])
    # Without an accelerator, and in a loader worker, torch.manual_seed would look for
    # one first, which takes longer than all of this.
    if get_worker_info() is None and get_device() != 'cpu':
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
