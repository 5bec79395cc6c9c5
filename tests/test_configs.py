"""Every shipped config trains for two iterations through tools/train.py."""

import runpy
import sys
from pathlib import Path

import pytest
import torch
from conftest import write_videos
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper

from projects.adamae.motion_videos import MotionSpec, make_dataset

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    str(p.relative_to(ROOT / 'configs'))
    for p in (ROOT / 'configs').rglob('*.py')
    if '_base_' not in p.parts and not p.stem.endswith('_base')
)
TINY_ENCODER = dict(embed_dims=16, depth=1, num_heads=2)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """The same few H.264 files in the layout of every data set."""
    root = tmp_path_factory.mktemp('data')
    lines = write_videos(root / 'videos', count=4, frames=70)
    (root / 'list.txt').write_text('\n'.join(lines))
    make_dataset(root / 'motion', MotionSpec(num_train=4, num_val=2, num_frames=32))
    return root


def load(name, data, monkeypatch):
    monkeypatch.setenv('MOTION_DATA', str(data / 'motion'))
    return Config.fromfile(ROOT / 'configs' / name)


def toy_options(cfg, data):
    """Narrow the model and point to the toy data; nothing else is changed."""
    options = {f'model.backbone.{k}': v for k, v in TINY_ENCODER.items()}
    if cfg.model.type == 'MAERecognizer':
        options |= {f'model.decoder.{k}': v for k, v in TINY_ENCODER.items()}
        if cfg.model.sampler.type == 'AdaptiveSamplerHead':
            options['model.sampler.num_heads'] = 2
    else:
        options['model.cls_head.in_channels'] = 16
    if 'num_layers' in cfg.optim_wrapper.get('paramwise_cfg', {}):
        options['optim_wrapper.paramwise_cfg.num_layers'] = 1
    for split in ('train', 'val', 'test'):
        loader = cfg.get(f'{split}_dataloader')
        if loader:
            key = f'{split}_dataloader'
            options[f'{key}.num_workers'] = 0
            options[f'{key}.persistent_workers'] = False
            if 'motion' not in str(loader.dataset.data_prefix.video):
                options[f'{key}.dataset.data_prefix.video'] = data / 'videos'
                if 'ann_file' in loader.dataset:
                    options[f'{key}.dataset.ann_file'] = data / 'list.txt'
    # Four videos: two epochs of one iteration, the first of them warm-up.
    options |= {'train_dataloader.batch_size': 4, 'train_cfg.max_epochs': 2}
    return options | {'param_scheduler.0.end': 1, 'param_scheduler.1.begin': 1}


@pytest.mark.parametrize('name', CONFIGS)
def test_two_iterations(name, data, tmp_path, monkeypatch):
    options = toy_options(load(name, data, monkeypatch), data)
    command = ['train.py', str(ROOT / 'configs' / name), '--work-dir', str(tmp_path)]
    command += ['--cfg-options', *(f'{k}={v}' for k, v in options.items())]
    monkeypatch.setattr(sys, 'argv', command)
    runpy.run_path(str(ROOT / 'tools/train.py'), run_name='__main__')
    checkpoint = torch.load(tmp_path / 'epoch_2.pth')
    assert checkpoint['meta']['iter'] == 2
    assert all(v.isfinite().all() for v in checkpoint['state_dict'].values())


@pytest.mark.parametrize('dataset, flips', [('ssv2', False), ('k400', True)])
def test_pretraining_recipe(dataset, flips, data, monkeypatch):
    """AdaMAE, appendix: 800 epochs, AdamW 0.9 / 0.95, decay 0.05, 1.5e-4 a 256."""
    cfg = load(f'adamae_vitb_{dataset}_pretrain.py', data, monkeypatch)
    steps = {step['type']: step for step in cfg.train_pipeline}
    assert ('Flip' in steps) == flips
    assert steps['SampleFrames']['clip_len'] == 16
    assert steps['SampleFrames']['frame_interval'] == (4 if flips else 2)
    assert steps['MultiScaleCrop']['scales'] == (1, 0.875, 0.75, 0.66)
    assert cfg.train_cfg.max_epochs == 800 and cfg.auto_scale_lr.base_batch_size == 256
    assert cfg.train_dataloader.batch_size == 32 and cfg.randomness.diff_rank_seed

    cfg.model.backbone.update(TINY_ENCODER)
    cfg.model.decoder.update(TINY_ENCODER)
    cfg.model.sampler.num_heads = 2
    model = MODELS.build(cfg.model)
    assert model.sampler.num_visible == 78
    wrapper = build_optim_wrapper(model, {**cfg.optim_wrapper, 'type': 'OptimWrapper'})
    groups = wrapper.optimizer.param_groups
    assert all(g['betas'] == (0.9, 0.95) and g['lr'] == 1.5e-4 for g in groups)
    decayed = {id(p): g['weight_decay'] for g in groups for p in g['params']}
    for name, p in model.named_parameters():
        free = p.ndim == 1 or name == 'decoder.mask_token'
        assert decayed[id(p)] == (0 if free else 0.05), name


def test_learning_rate_over_the_schedule(data, monkeypatch):
    """Linear from 1e-6 over 40 epochs, cosine to 1e-5; all scale together."""
    from mmaction.registry import PARAM_SCHEDULERS

    cfg = load('adamae_vitb_ssv2_pretrain.py', data, monkeypatch)
    for scale in (1, 8):  # 8: what --auto-scale-lr makes of 64 GPUs
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.5e-4 * scale)
        schedulers = [
            PARAM_SCHEDULERS.build(
                {k: v for k, v in s.items() if k != 'convert_to_iter_based'}
                | dict(optimizer=optimizer, end=s.get('end', cfg.train_cfg.max_epochs))
            )
            for s in cfg.param_scheduler
        ]
        rates = []
        for _ in range(800):
            rates.append(optimizer.param_groups[0]['lr'] / scale)
            optimizer.step()
            for scheduler in schedulers:
                scheduler.step()
        assert rates[0] == pytest.approx(1e-6)
        assert max(rates) == pytest.approx(1.5e-4)
        assert rates[39] == pytest.approx(1.5e-4) == rates[40]
        assert rates[420] == pytest.approx((1.5e-4 + 1e-5) / 2, rel=1e-2)
        assert rates[799] == pytest.approx(1e-5, rel=1e-2)


def test_configs_for_a_new_dataset_are_short():
    for name in CONFIGS:
        lines = (ROOT / 'configs' / name).read_text().splitlines()
        if not name.startswith('demo'):
            assert len(lines) < 25, name
