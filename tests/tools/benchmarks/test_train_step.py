"""The benchmark compares like with like; its figures are not tested."""

import os
import re
import runpy
import sys

import iteration_overhead as overhead
import pytest
import torch
import training_steps as steps
import worker_processes as workers
from mmengine.config import Config
from torch.testing import assert_close

from tests.helpers import ROOT, tiny_model_cfg

CPU = torch.device('cpu')
OPTIM = Config.fromfile(ROOT / 'configs/_base_/schedules/pretrain_800e.py')


def pretraining():
    return dict(model=tiny_model_cfg(), optim_wrapper=OPTIM.optim_wrapper.to_dict())


def test_plain_modules_have_our_loss_gradients_and_update():
    """An independent reference: attention matrices, boolean masks, loops."""
    ours, plain = (
        steps.make_step(which, pretraining(), 2, CPU) for which in ('ours', 'baseline')
    )
    mask = steps.forced_mask(ours.model, 2)
    assert torch.equal(mask, steps.forced_mask(plain.model, 2))
    losses = []
    for step in (ours, plain):
        torch.manual_seed(1)
        losses.append(step.loss(mask))
        losses[-1].backward()
    assert_close(losses[0], losses[1], rtol=1e-6, atol=0)
    for a, b in (
        (ours.model.backbone.patch_embed.projection, plain.model.embed),
        (ours.model.sampler.blocks[0].attn.qkv, plain.model.scores[0].attn.qkv),
        (ours.model.decoder.blocks[0].norm1, plain.model.decoder[0].norm1),
        (ours.model.decoder.head, plain.model.head),
    ):
        scale = b.weight.grad.abs().max().item()
        assert_close(a.weight.grad, b.weight.grad, rtol=1e-4, atol=1e-5 * scale)


def test_stock_classifier_has_our_loss():
    backbone = dict(tiny_model_cfg()['backbone'], drop_path_rate=0.3)
    head = dict(type='TimeSformerHead', num_classes=5, in_channels=16)
    model = dict(type='Recognizer3D', backbone=backbone, cls_head=head)
    losses = []
    for which in ('ours', 'baseline'):
        step = steps.make_step(which, dict(pretraining(), model=model), 2, CPU)
        torch.manual_seed(1)
        losses.append(step.loss(steps.forced_mask(step.model, 2)))
    assert type(step.model.backbone).__name__ == 'VisionTransformer'
    assert step.model.backbone.blocks[0].attn.__class__.__name__ == 'Attention'
    assert_close(losses[0], losses[1], rtol=1e-6, atol=0)


def test_arithmetic_of_a_step():
    """GFLOP a clip, forward and backward, as counted for the released model."""
    cfg = Config.fromfile(ROOT / 'configs/adamae_vitb_ssv2_pretrain.py')
    parts = steps.step_flops(cfg.model.to_dict())
    known = dict(tokenizer=7.4, sampler=89.3, encoder=40.4, decoder=111.9, head=5.3)
    assert {k: round(v / 1e9, 1) for k, v in parts.items()} == pytest.approx(
        known, abs=0.1
    )


def test_statistics():
    assert workers.summarise([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    # Each turn's own ratio: a slow minute slows both.
    assert workers.ratio([2.0, 20.0, 4.0], [1.0, 10.0, 1.0]) == (2.0, 2.0, 4.0)


def echo(connection):
    """A worker that tells its malloc settings, and fails when told to."""
    while True:
        command = connection.recv()
        if command == 'fail':
            raise SystemExit(3)
        connection.send({k: os.environ.get(k) for k in workers.MALLOC['tuned']})


def test_a_worker_starts_with_its_own_malloc_settings(monkeypatch):
    monkeypatch.setenv('MALLOC_MMAP_MAX_', '7')
    worker = workers.Worker(echo, 'tuned')
    assert worker.ask('') == workers.MALLOC['tuned']
    assert os.environ['MALLOC_MMAP_MAX_'] == '7'
    with workers._environment(workers.MALLOC['default']):
        assert not workers.MALLOC['tuned'].keys() & os.environ.keys()
    with pytest.raises(RuntimeError, match="ended with code 3 at 'fail'"):
        worker.ask('fail')


def test_toy_run_keeps_the_shipped_hooks(monkeypatch):
    monkeypatch.setenv('MOTION_DATA', 'nowhere')
    cfg = Config.fromfile(ROOT / 'configs/demo/motion_pretrain.py')
    run = overhead.toy_run(cfg, 10)
    assert run['custom_hooks'] == cfg.to_dict()['custom_hooks']
    assert run['optim_wrapper']['optimizer']['fused']
    length = run['train_dataloader']['batch_size'] * 10
    assert run['train_dataloader']['dataset']['length'] == length


@pytest.mark.parametrize(
    'options, told',
    [
        (['--config', 'demo/motion_random_pretrain.py'], r'sampler\.type: .*Random'),
        (['--config', 'maest_vitb_k400_pretrain.py'], r'backbone\.type: .*Separable'),
        (['--config', 'adamae_vitb_k400_linear.py'], r'backbone\.type: .*Frozen'),
        (['--dtype', 'float16', '--device', 'cpu'], 'float16'),
    ],
)
def test_what_cannot_be_compared(options, told, capsys, monkeypatch):
    monkeypatch.chdir(ROOT / 'configs')
    monkeypatch.setenv('MOTION_DATA', 'nowhere')
    tool = str(ROOT / 'tools/benchmarks/train_step.py')
    monkeypatch.setattr(sys, 'argv', [tool, *options])
    with pytest.raises(SystemExit):
        runpy.run_path(tool, run_name='__main__')
    assert re.search(f'^error: .*{told}', capsys.readouterr().err)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('config', 'options', 'expected'),
    [
        ('motion_pretrain', [], 'speed-up, turn by turn: '),
        ('motion_finetune', [], 'speed-up, turn by turn: '),
        ('motion_pretrain', ['--overhead', '--iterations', '5'], 'MMEngine'),
    ],
)
def test_tool(config, options, expected, capsys, monkeypatch):
    monkeypatch.setenv('MOTION_DATA', 'nowhere')
    tool = str(ROOT / 'tools/benchmarks/train_step.py')
    command = [tool, '--steps', '1', '--malloc', 'default', '--threads', '1', *options]
    command += ['--config', str(ROOT / f'configs/demo/{config}.py')]
    monkeypatch.setattr(sys, 'argv', command)
    runpy.run_path(tool, run_name='__main__')
    assert expected in capsys.readouterr().out
