"""Arithmetic and hours of a run, by hand."""

from functools import partial

import pytest
import torch
from mmengine.config import Config
from torch import nn

from projects.adamae.analysis import cost, flops, memory
from tests.helpers import CONFIGS, run_tool, tiny_model_cfg


def test_flops_of_a_linear_layer():
    def make():
        model = nn.Linear(8, 16)
        x = torch.zeros(4, 8, requires_grad=True)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)
        return memory.TrainingStep(model, optimizer, lambda: model(x).sum())

    # Forward, and backward for weights and for the input.
    assert cost.step_flops(make) == 3 * 2 * 4 * 8 * 16


def test_flops_of_a_training_step():
    """A product of the forward pass makes two in the backward pass, but for two."""
    n, d = 16, 16  # tokens of one clip, width
    backbone = {**tiny_model_cfg()['backbone'], 'depth': 1}
    head = dict(type='TimeSformerHead', num_classes=5, in_channels=d)
    model = dict(type='Recognizer3D', backbone=backbone, cls_head=head)
    parts = {p.name: 2 * p.multiply_adds for p in flops.count(model)}
    run = Config(
        dict(model=model, optim_wrapper=dict(optimizer=dict(type='SGD', lr=1)))
    )
    step = cost.step_flops(partial(memory.config_step, run, 1))
    # Pixels have no gradient; FlashAttention computes its scores once more.
    expected = 3 * sum(parts.values()) - parts['tokenizer'] + 2 * n**2 * d
    assert step == expected
    assert cost.step_flops(partial(memory.config_step, run, 4)) == 4 * step
    memory.checkpoint_activations(run)
    again = cost.step_flops(partial(memory.config_step, run, 1)) - step
    # The block runs once more, but for its last product, which nothing needs.
    assert again == parts['encoder'] - 2 * 4 * n * d**2


def test_hours_and_cores():
    # 3600 clips of 1 TFLOP on 10 TFLOP/s, half of which is reached: 720 seconds.
    assert cost.gpu_hours(3600, 1e12, 10e12, 0.5) == pytest.approx(0.2)
    assert cost.loader_cores(1e12, 10e12, 0.5, 2) == pytest.approx(2.5)
    for utilization in (0, 1.5, 30):
        with pytest.raises(ValueError, match=rf'expected .* got {utilization}'):
            cost.gpu_hours(1, 1, 1, utilization)


def test_tool(capsys, monkeypatch):
    """Hours, clips and cores follow from the arithmetic of a clip."""
    monkeypatch.setenv('MOTION_DATA', 'nowhere')
    config = CONFIGS / 'demo/motion_pretrain.py'
    options = ['--videos', 36_000_000, '--epochs', 100, '--clips-per-core', 50]
    run_tool('benchmarks/cost', config, *options, '--utilization', 0.5)
    out = capsys.readouterr().out
    flop = cost.step_flops(partial(memory.config_step, Config.fromfile(config), 1))
    assert f'counted: {flop / 1e9:.1f} GFLOP per clip' in out
    assert '100 epochs of 36,000,000 videos x 2 clips at an assumed 50%' in out
    a100 = next(line for line in out.splitlines() if 'A100' in line)
    hours, speed, cores = (
        float(word.replace(',', '')) for word in a100.split() if word[0].isdigit()
    )
    rate = 0.5 * 312e12 / flop  # clips per second
    expected = [2 * 36e8 / rate / 3600, rate, rate / 50]
    assert [hours, speed, cores] == pytest.approx(expected, abs=0.6)  # whole numbers
    for option in ('--videos', '--clips-per-core'):
        with pytest.raises(SystemExit, match='2'):
            run_tool('benchmarks/cost', config, '--videos', 1, option, -1)
        assert f'{option}: expected more than 0' in capsys.readouterr().err
