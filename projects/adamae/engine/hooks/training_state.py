"""Evaluation in the middle of training."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from mmaction.models.recognizers.base import BaseRecognizer


@contextmanager
def preserve_training_state(model: BaseRecognizer) -> Iterator[None]:
    """Put a model in evaluation mode, and restore everything afterwards.

    Everything: the mode of every module and all random number generators.
    """
    modes = [(module, module.training) for module in model.modules()]
    states = random.getstate(), np.random.get_state()
    device = next(model.parameters()).device
    with torch.random.fork_rng([device] if device.type == 'cuda' else []):
        try:
            yield model.eval()
        finally:
            for module, mode in modes:
                module.training = mode
            random.setstate(states[0])
            np.random.set_state(states[1])
