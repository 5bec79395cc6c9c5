"""Half precision: the switch to bfloat16 without a loss scaler, and fine-tuning."""

import pytest
import torch
from mmaction.registry import MODELS
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper

from tests.helpers import ROOT, tiny_model_cfg


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


def test_fine_tuning_in_bfloat16(monkeypatch):
    """Matrix products are in bfloat16, the loss is not. (float16 needs a GPU.)"""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    cfg = Config.fromfile(ROOT / 'configs/adamae_vitb_ssv2_finetune.py')
    cfg.model.backbone.update(img_size=32, num_frames=4, embed_dims=32, num_heads=2)
    cfg.model.backbone.update(depth=2, drop_path_rate=0.0)
    cfg.model.cls_head.update(in_channels=32, init_std=0.02)
    cfg.merge_from_dict(
        {
            'optim_wrapper.dtype': 'bfloat16',
            'optim_wrapper.paramwise_cfg.num_layers': 2,
            # A scaler is CUDA's; the step is that of one that scales by 1.
            'optim_wrapper.loss_scale.enabled': False,
        }
    )
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    samples = [ActionDataSample().set_gt_label(k) for k in (3, 170)]
    clips = torch.randn(2, 1, 3, 4, 32, 32)

    def loss():
        return model(clips, samples, mode='loss')['loss_cls']

    dtypes = []
    model.backbone.blocks[0].attn.proj.register_forward_hook(
        lambda *x: dtypes.append(x[2].dtype)
    )
    expected = loss()
    with wrapper.optim_context(model):
        half = loss()
    assert dtypes == [torch.float32, torch.bfloat16]
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(expected.item(), rel=2e-2)
    wrapper.update_params(half)
    assert all(p.isfinite().all() for p in model.parameters())
    assert loss() < expected
