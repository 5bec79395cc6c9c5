"""The benchmark compares like with like; its figures are not tested."""

import os
import re

import iteration_overhead as overhead
import pytest
import torch
import training_steps as steps
import worker_processes as workers
from mmengine.config import Config
from torch.testing import assert_close

from tests.helpers import CONFIGS, run_tool, tiny_model_cfg

CPU = torch.device('cpu')
OPTIM = Config.fromfile(CONFIGS / '_base_/schedules/pretrain_800e.py')


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


def test_mmactions_classifier_has_our_loss():
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
    """GFLOP per clip, forward and backward, as counted for the released model."""
    cfg = Config.fromfile(CONFIGS / 'adamae_vitb_ssv2_pretrain.py')
    parts = steps.flops_by_part(cfg.model.to_dict())
    known = dict(tokenizer=7.4, sampler=89.3, encoder=40.4, decoder=111.9, head=5.3)
    assert {k: round(v / 1e9, 1) for k, v in parts.items()} == pytest.approx(
        known, abs=0.1
    )


def test_statistics():
    assert workers.summarize([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    # The ratio of each round: a slow minute slows both.
    assert workers.ratio([2.0, 20.0, 4.0], [1.0, 10.0, 1.0]) == (2.0, 2.0, 4.0)


def echo(connection):
    """A worker that answers with its malloc settings, and fails when told to."""
    while True:
        command = connection.recv()
        if command == 'fail':
            raise SystemExit(3)
        connection.send({k: os.environ.get(k) for k in workers.KEEP_FREED_MEMORY})


@pytest.mark.slow
def test_workers_start_with_malloc_settings_of_their_own(monkeypatch):
    monkeypatch.setenv('MALLOC_MMAP_MAX_', '7')
    tuned, default = (workers.Worker(echo, malloc) for malloc in workers.MALLOC)
    assert tuned.request('') == workers.KEEP_FREED_MEMORY
    assert set(default.request('').values()) == {None}
    assert os.environ['MALLOC_MMAP_MAX_'] == '7'
    with pytest.raises(RuntimeError, match="ended with code 3 at 'fail'"):
        tuned.request('fail')
    default.close()


def test_toy_run_keeps_the_shipped_hooks(monkeypatch):
    monkeypatch.setenv('MOTION_DATA', 'nowhere')
    cfg = Config.fromfile(CONFIGS / 'demo/motion_pretrain.py')
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
    monkeypatch.chdir(CONFIGS)
    monkeypatch.setenv('MOTION_DATA', 'nowhere')
    with pytest.raises(SystemExit, match='2'):
        run_tool('benchmarks/train_step', *options)
    assert re.search(f'^error: .*{told}', capsys.readouterr().err)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('config', 'options', 'expected'),
    [
        ('motion_pretrain', [], 'speed-up, round by round: '),
        ('motion_finetune', [], 'speed-up, round by round: '),
        ('motion_pretrain', ['--overhead', '--iterations', '5'], 'MMEngine'),
    ],
)
def test_tool(config, options, expected, capsys, monkeypatch):
    monkeypatch.setenv('MOTION_DATA', 'nowhere')
    options += ['--steps', '1', '--malloc', 'default', '--threads', '1']
    config = CONFIGS / f'demo/{config}.py'
    run_tool('benchmarks/train_step', '--config', config, *options)
    assert expected in capsys.readouterr().out
