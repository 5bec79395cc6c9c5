"""Arithmetic and hours of a run, by hand."""

from functools import partial

import pytest
import torch
from mmengine.config import Config
from torch import nn

from projects.adamae.analysis import cost, flops, memory
from tests.helpers import tiny_model_cfg


def test_flops_of_a_linear_layer():
    def make():
        model = nn.Linear(8, 16)
        x = torch.zeros(4, 8, requires_grad=True)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)
        return memory.TrainingStep(model, optimizer, lambda: model(x).sum())

    # Forward, and backward for weights and for the input.
    assert cost.step_flops(make) == 3 * 2 * 4 * 8 * 16


def test_training_takes_about_three_forward_passes():
    cfg = tiny_model_cfg()
    forward = 2 * sum(part.multiply_adds for part in flops.count(cfg))
    run = Config(dict(model=cfg, optim_wrapper=dict(optimizer=dict(type='SGD', lr=1))))
    step = cost.step_flops(partial(memory.config_step, run, 1))
    assert 2.5 * forward < step < 3.5 * forward
    assert cost.step_flops(partial(memory.config_step, run, 4)) == 4 * step
    memory.checkpoint_activations(run)
    assert cost.step_flops(partial(memory.config_step, run, 1)) > step


def test_hours_and_cores():
    # 3600 clips of 1 TFLOP on 10 TFLOP/s, half of which is reached: 720 seconds.
    assert cost.gpu_hours(3600, 1e12, 10e12, 0.5) == pytest.approx(0.2)
    assert cost.loader_cores(1e12, 10e12, 0.5, 2) == pytest.approx(2.5)
    with pytest.raises(ValueError, match=r'utilisation: expected .* got 30'):
        cost.gpu_hours(1, 1, 1, 30)
