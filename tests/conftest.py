"""Shared fixtures: tiny models and tiny videos."""

import socket

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

import projects.adamae  # noqa: F401  registers the components, before anything else
from projects.adamae import cpu
from projects.adamae.motion_videos import encode_video


def pytest_addoption(parser):
    parser.addoption('--runslow', action='store_true', help='run slow tests too')


def pytest_configure(config):
    config.addinivalue_line('markers', 'slow: minutes long; needs --runslow')


def pytest_collection_modifyitems(config, items):
    if config.getoption('--runslow'):
        return
    for item in items:
        if 'slow' in item.keywords:
            item.add_marker(pytest.mark.skip(reason='slow: needs --runslow'))


@pytest.fixture(autouse=True)
def _fresh_start():
    init_default_scope('mmaction')  # as `default_scope` does in every config
    torch.manual_seed(0)
    np.random.seed(0)
    yield
    cpu.stop_onednn()


@pytest.fixture
def onednn(monkeypatch):
    """Products by oneDNN, on any CPU that computes them in float32."""
    monkeypatch.setattr(cpu, '_is_worth_it', lambda: True)
    if not cpu.use_onednn():
        pytest.skip('products on this CPU would have rounded operands')


def free_port():
    """A port for the processes of a run, as a string."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return str(s.getsockname()[1])


def tiny_model_cfg(sampler=None, **parts):
    """Config of a masked autoencoder with 4 x 2 x 2 tokens of 2 x 8 x 8 pixels."""
    cfg = dict(
        type='MAERecognizer',
        data_preprocessor=dict(
            type='AdaMAEDataPreprocessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
        ),
        backbone=dict(
            type='MaskedVisionTransformer',
            img_size=16,
            patch_size=8,
            num_frames=8,
            embed_dims=16,
            depth=2,
            num_heads=2,
        ),
        sampler=sampler
        or dict(type='AdaptiveSamplerHead', mask_ratio=0.75, num_heads=2),
        decoder=dict(type='MAEDecoder', embed_dims=8, depth=1, num_heads=2),
    )
    for part, overrides in parts.items():
        cfg[part] = {**cfg.get(part, {}), **overrides}
    return cfg


def write_videos(folder, count=4, frames=40, size=(48, 64)):
    """Write small H.264 files; returns the lines of an annotation file."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for i in range(count):
        coarse = rng.integers(0, 256, (frames, size[0] // 8, size[1] // 8, 3))
        clip = coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)
        (folder / f'{i}.mp4').write_bytes(encode_video(clip, fps=12))
        lines.append(f'{i}.mp4 {i % 2}')
    return lines
