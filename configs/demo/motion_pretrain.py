# A tiny AdaMAE for a laptop: 128 tokens, 12 of them visible.
_base_ = [
    '../_base_/models/adamae_vitb.py',
    '../_base_/schedules/pretrain_800e.py',
    'motion_base.py',
]

model = dict(
    backbone=dict(img_size=32, patch_size=8, embed_dims=96, depth=4, num_heads=3),
    sampler=dict(mask_ratio=0.9, num_heads=4),
    decoder=dict(embed_dims=64, depth=2, num_heads=2),
)

train_pipeline = [
    _base_.init,
    # Two clips of every decoded video (repeated sampling) halve the decoding.
    dict(_base_.sample, num_clips=2),
    _base_.decode,
    *_base_.pack,
]
val_pipeline = [
    _base_.init,
    _base_.val_sample,
    _base_.decode,
    dict(
        type='LoadObjectMask',
        video_root=_base_.video_root,
        mask_root=_base_.mask_root,
    ),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', algorithm_keys=('object_mask',)),
]
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=25, dataset=dict(pipeline=val_pipeline))
val_evaluator = dict(type='MaskingMetric', patch_size=8, tubelet_size=2)
val_cfg = dict(type='ValLoop')

train_cfg = dict(max_epochs=11, val_interval=2)  # epochs of 100 steps
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.01,
        by_epoch=True,
        end=2,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.05,
        by_epoch=True,
        begin=2,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(base_batch_size=32)  # clips, two a video
