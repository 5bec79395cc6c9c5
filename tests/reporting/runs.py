"""Work folders as runs leave them, without a run."""

import json

import numpy as np
import torch
from PIL import Image

from projects.adamae.evaluation import ClassificationReport

CONFIG = """\
load_from = None
model = dict(
    backbone=dict(depth=4, embed_dims=96, img_size=32, type='MaskedVisionTransformer'),
    sampler=dict(mask_ratio=0.9, type='AdaptiveSamplerHead'),
    type='MAERecognizer')
optim_wrapper = dict(optimizer=dict(lr=0.001, type='AdamW'), type='OptimWrapper')
randomness = dict(seed=3)
train_cfg = dict(max_epochs=4)
train_dataloader = dict(batch_size=16)
"""
LOG = """\
2026/11/27 02:00:11 - mmengine - INFO -
------------------------------------------------------------
System environment:
    sys.platform: linux
    PyTorch: 2.13.0
    PyTorch compiling details: PyTorch built with:
  - GCC 13.3

Runtime environment:
    seed: 3
    GPU number: 2
------------------------------------------------------------

2026/11/27 02:00:12 - mmengine - INFO - Start of the run
  config: configs/mine.py
  device: cpu, 2 processes
2026/11/27 02:00:12 - mmengine - INFO - data_prefix.video: found 64 videos in v
2026/11/27 02:00:13 - mmengine - WARNING - odd <b>thing</b>
2026/11/27 02:00:14 - mmengine - WARNING - odd <b>thing</b>
2026/11/27 02:01:20 - mmengine - INFO - Epoch(train) [1][10/10]  lr: 1.0000e-03
"""
RECORD = {
    'schema': 1,
    'code': {'projects.adamae': {'commit': '0123abcd', 'dirty': True}},
}


def step(number, epoch, loss, **more):
    """A line as LoggerHook writes it."""
    seconds = dict(time=0.2, data_time=0.01)
    return dict(
        loss=loss, lr=1e-3, **seconds, epoch=epoch, iter=number, step=number, **more
    )


def write_start(folder, time, records, end='', config=CONFIG):
    """One start of a run."""
    vis_data = folder / time / 'vis_data'
    vis_data.mkdir(parents=True)
    lines = ''.join(f'{json.dumps(record)}\n' for record in records)
    (vis_data / 'scalars.json').write_text(lines + end)
    (vis_data / 'config.py').write_text(config)
    (folder / time / f'{time}.log').write_text(LOG)
    (folder / time / 'run.json').write_text(json.dumps(RECORD))
    return vis_data


def write_test(folder, names, paths):
    """The report of a test in which every second video is wrong."""
    report = ClassificationReport(out_dir=str(folder), classes=names)
    for i, path in enumerate(paths):
        scores = np.full(len(names), 0.2 / len(names), np.float32)
        scores[(i + i % 2) % len(names)] += 0.8
        label = np.array([i % len(names)])
        report.process(
            {},
            [
                dict(
                    pred_score=torch.from_numpy(scores),
                    gt_label=torch.from_numpy(label),
                    filename=path,
                )
            ],
        )
    report.compute_metrics(report.results)


def write_pictures(folder, names, size=(300, 200)):
    """Pictures that cannot be packed well."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in names:
        noise = rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f'{name}.png')
