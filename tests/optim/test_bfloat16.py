"""The documented switch: bfloat16 without a loss scaler."""

from pathlib import Path

import torch
from conftest import tiny_model_cfg
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper

ROOT = Path(__file__).parents[2]


def test_one_line_switches_the_scaler_off(monkeypatch):
    # MMEngine wants an accelerator for this wrapper, whatever its dtype.
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    cfg = Config.fromfile(ROOT / 'configs/_base_/schedules/pretrain_800e.py')
    options = {'dtype': 'bfloat16', 'loss_scale.enabled': False}
    cfg.merge_from_dict({f'optim_wrapper.{k}': v for k, v in options.items()})
    model = MODELS.build(tiny_model_cfg())
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    assert not wrapper.loss_scaler.is_enabled()
    dtypes = []
    model.decoder.head.register_forward_hook(lambda *x: dtypes.append(x[2].dtype))
    before = model.decoder.head.weight.detach().clone()
    with wrapper.optim_context(model):
        losses = model(torch.randn(2, 3, 8, 16, 16), mode='loss')
    wrapper.update_params(model.parse_losses(losses)[0])
    assert dtypes == [torch.bfloat16]
    # AdamW's first step: the learning rate, whatever a loss was scaled by.
    moved = (model.decoder.head.weight - before).abs()
    assert moved.max() < 1.1 * 1.5e-4 and moved.median() > 0.9 * 1.5e-4
    wrapper.load_state_dict(wrapper.state_dict())
