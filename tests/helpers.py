"""Tiny models, tiny videos and other things that several tests need."""

import importlib.util
import multiprocessing
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch
from mmaction.visualization import ActionVisualizer
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer

from projects.adamae.datasets.from_config import iter_datasets
from projects.adamae.models.tokens import TokenSample, split_ids
from projects.adamae.video.writer import encode_video
from projects.adamae_process import end_with_launcher

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / 'configs'
DATA = ROOT / 'tests/data'
TINY = dict(embed_dims=16, num_heads=2)


@cache
def load_tool(name):
    """Import ``tools/<name>.py`` as a module."""
    path = ROOT / 'tools' / f'{name}.py'
    spec = importlib.util.spec_from_file_location(f'tool_{path.stem}', path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run_tool(name, *arguments, **cfg_options):
    """Run ``tools/<name>.py`` in this process, with ``--cfg-options`` as keywords."""
    options = [f'{key}={value}' for key, value in cfg_options.items()]
    if options:
        options.insert(0, '--cfg-options')
    # MMEngine names a run by the second; two of one second would share their state.
    # Loggers that an earlier test left behind write to its terminal, which is closed.
    for kind in (MessageHub, MMLogger, ActionVisualizer, Visualizer):
        kind._instance_dict.clear()
    load_tool(name).main([*map(str, arguments), *options])


def run_command(*command, cwd=None, timeout=300, **env):
    """Run a tool or launcher as a user would; returns its ``CompletedProcess``.

    A ``.py`` file of ``tools`` is run by this Python, launchers are told to use it.
    """
    command = [str(part) for part in command]
    if command[0].endswith('.py'):
        command.insert(0, sys.executable)
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, 'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT), **env},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def free_port():
    """A port for the processes of a run, as a string."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return str(s.getsockname()[1])


def start_pair(command, **pipes):
    """Start the two processes of a run on one machine, without a launcher."""
    env = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(ROOT))
    env.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port(), WORLD_SIZE='2')
    return [
        subprocess.Popen(
            command, env=dict(env, RANK=rank, LOCAL_RANK=rank), text=True, **pipes
        )
        for rank in '01'
    ]


def fork_pair(folder, tool, *arguments, **cfg_options):
    """Start ``run_tool`` in the two processes of a run, as copies of this process.

    They need not import anything again, and end with it, so they cannot start workers
    of data loaders. What they say goes to ``folder/RANK.txt``.
    """
    port = free_port()

    def work(rank):
        os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=port, WORLD_SIZE='2')
        os.environ.update(RANK=rank, LOCAL_RANK=rank, TORCHELASTIC_RUN_ID='')
        end_with_launcher()  # which is killed if the tests are
        sys.stdout = sys.stderr = open(folder / f'{rank}.txt', 'w', buffering=1)
        torch.set_num_threads(1)  # threads of this process are not copied
        run_tool(tool, *arguments, '--launcher', 'pytorch', **cfg_options)

    context = multiprocessing.get_context('fork')
    processes = [
        context.Process(target=work, args=[rank], daemon=True) for rank in '01'
    ]
    for process in processes:
        process.start()
    return processes


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


def tiny_spatiotemporal_cfg(sampler=None, **parts):
    """Config of a SpatiotemporalMAE of the same size, with random masks."""
    for part, kind in (
        ('backbone', 'SeparableVisionTransformer'),
        ('decoder', 'SeparableMAEDecoder'),
        ('loss', 'SpatiotemporalMAELoss'),
    ):
        parts[part] = dict(type=kind, **parts.get(part, {}))
    sampler = sampler or dict(type='RandomSamplerHead', mask_ratio=0.75)
    return tiny_model_cfg(sampler, **parts)


def token_sample(masked_ids, num_tokens, log_probs=None, perturbed=None):
    """The ``TokenSample`` of a draw that masks these tokens."""
    shape = (len(masked_ids), num_tokens)
    mask = torch.zeros(shape, dtype=torch.bool).scatter(1, masked_ids, True)
    visible_ids, _ = split_ids(mask, num_tokens - masked_ids.shape[1])
    return TokenSample(mask, visible_ids, masked_ids, log_probs, perturbed)


def tiny_classifier_cfg():
    """Config of a classifier of three classes with the encoder of the same."""
    cfg = tiny_model_cfg()
    return dict(
        type='Recognizer3D',
        backbone=cfg['backbone'],
        data_preprocessor=dict(
            cfg['data_preprocessor'],
            type='BatchedDataPreprocessor',
            format_shape='NCTHW',
        ),
        cls_head=dict(
            type='TimeSformerHead',
            num_classes=3,
            in_channels=16,
            init_std=1.0,  # for scores that differ
            average_clips='prob',
        ),
    )


def toy_options(cfg, data):
    """Narrow the model, one encoder block, toy data; nothing else is changed."""
    options = {f'model.backbone.{k}': v for k, v in TINY.items()}
    options['model.backbone.depth'] = 1
    if 'decoder' in cfg.model:
        options |= {f'model.decoder.{k}': v for k, v in TINY.items()}
        if cfg.model.sampler.get('embed_dims'):
            options['model.sampler.embed_dims'] = 8
    else:
        options['model.cls_head.in_channels'] = 16
    if 'num_layers' in cfg.optim_wrapper.get('paramwise_cfg', {}):
        options['optim_wrapper.paramwise_cfg.num_layers'] = 1
    parts = [part for _, part in iter_datasets(cfg.train_dataloader.dataset)]
    toy_data = 'motion' in str(parts[0].data_prefix.video)
    for split in ('train', 'val', 'test'):
        key = f'{split}_dataloader'
        if cfg.get(key):
            options[f'{key}.num_workers'] = 0
            options[f'{key}.persistent_workers'] = False
            for name, part in iter_datasets(cfg[key].dataset, f'{key}.dataset'):
                # It would collect garbage after making one string of the list.
                options[f'{name}.serialize_data'] = False
                if not toy_data:
                    options[f'{name}.data_prefix.video'] = data / 'videos'
                    if 'ann_file' in part:
                        options[f'{name}.ann_file'] = data / 'list.txt'
    if not toy_data:
        options['model.backbone.img_size'] = 64
    # Two videos: two epochs of one iteration, the first of them warm-up.
    options |= {'train_dataloader.batch_size': 2, 'train_cfg.max_epochs': 2}
    return options | {'param_scheduler.0.end': 1, 'param_scheduler.1.begin': 1}


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


def video_dataset_cfg(root, ann_file, **sample):
    """Config of a dataset that reads ``root/videos`` as clips for ``tiny_model_cfg``.

    ``sample`` are further arguments of ``SampleFrames``.
    """
    return dict(
        type='VideoDataset',
        ann_file=str(root / ann_file),
        data_prefix=dict(video=str(root / 'videos')),
        pipeline=[
            dict(type='DecordInit'),
            dict(type='SampleFrames', clip_len=8, **sample),
            dict(type='DecordDecode'),
            dict(type='Resize', scale=(16, 16), keep_ratio=False),
            dict(type='FormatShape', input_format='NCTHW'),
            dict(type='PackActionInputs'),
        ],
    )
