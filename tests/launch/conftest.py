"""A toy recognizer alongside four real videos."""

import pytest

from projects.adamae.launch import distributed
from tests.helpers import write_videos

TOY = """
default_scope = 'mmaction'
custom_imports = dict(imports=['projects.adamae'])
model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='VisionTransformer', img_size=32, num_frames=4, embed_dims=16, depth=1,
        num_heads=2),
    cls_head=dict(
        type='TimeSformerHead', num_classes=2, in_channels=16, average_clips='prob'),
    data_preprocessor=dict(
        type='ActionDataPreprocessor', mean=[127.5] * 3, std=[50.0] * 3,
        format_shape='NCTHW'))
pipeline = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=4, frame_interval=2, num_clips=1),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(32, 32), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs')]
dataset = dict(
    type='VideoDataset', data_root={root!r}, ann_file='list.txt',
    data_prefix=dict(video='videos'), pipeline=pipeline)
train_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dataset)
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, test_mode=True))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='AccMetric')
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='AmpOptimWrapper', loss_scale='dynamic', dtype='bfloat16',
    optimizer=dict(type='AdamW', lr=1e-3))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=2, by_epoch=True)]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', interval=1))
custom_hooks = [dict(type='CheckpointCheckHook')]
randomness = dict(seed=3, diff_rank_seed=True)
"""


@pytest.fixture(scope='session')
def toy(tmp_path_factory):
    """The path of the config; list.txt and videos/ are in the same folder."""
    root = tmp_path_factory.mktemp('toy')
    lines = write_videos(root / 'videos', frames=8)
    (root / 'list.txt').write_text('\n'.join(lines))
    (root / 'toy.py').write_text(TOY.replace('{root!r}', repr(str(root))))
    return root / 'toy.py'


@pytest.fixture
def warned(monkeypatch):
    """What was warned of."""
    messages = []
    monkeypatch.setattr(
        distributed, 'print_log', lambda message, **kwargs: messages.append(message)
    )
    return messages
