# Fine-tune the encoder of motion_pretrain.py to classify the direction of motion.
_base_ = 'motion_base.py'

model = dict(
    type='Recognizer3D',
    data_preprocessor=dict(
        type='BatchedDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape='NCTHW',
    ),
    backbone=dict(
        type='MaskedVisionTransformer',
        img_size=32,
        patch_size=8,
        num_frames=16,
        embed_dims=96,
        depth=4,
        num_heads=3,
    ),
    cls_head=dict(
        type='TimeSformerHead', num_classes=8, in_channels=96, average_clips='prob'
    ),
)

train_pipeline = [
    _base_.init,
    dict(_base_.sample, num_clips=1),
    _base_.decode,
    *_base_.pack,
]
val_pipeline = [_base_.init, _base_.val_sample, _base_.decode, *_base_.pack]
# 2 clips x 3 crops: as many views as the papers take of Something-Something v2.
# (At 32 x 32 pixels the three crops are one.)
test_pipeline = [
    _base_.init,
    dict(_base_.val_sample, num_clips=2),
    _base_.decode,
    dict(type='ThreeCrop', crop_size=32),
    *_base_.pack,
]
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=25, dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(
    batch_size=5,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='TolerantVideoDataset',
        ann_file=_base_.data_root + 'val.txt',
        data_prefix=dict(video=_base_.video_root),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# Epochs of 100 steps.
train_cfg = dict(type='ResumableEpochTrainLoop', max_epochs=8, val_interval=2)
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05),
    # No layer-wise decay: four blocks, pre-trained for minutes, have much to learn.
    paramwise_cfg=dict(flat_decay_mult=0.0),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.01,
        by_epoch=True,
        end=1,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        by_epoch=True,
        begin=1,
        convert_to_iter_based=True,
    ),
]
