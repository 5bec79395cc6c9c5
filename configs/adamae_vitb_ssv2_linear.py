_base_ = [
    '_base_/models/vitb_linear.py',
    '_base_/datasets/ssv2_finetune.py',
    '_base_/schedules/linear_90e.py',
]

model = dict(cls_head=dict(num_classes=174))
# Crops only.
train_pipeline = [
    dict(type='DecordInit'),
    dict(type='SegmentSampleFrames', clip_len=16),
    dict(type='DecordDecode'),
    dict(type='RandomResizedCrop'),
    dict(type='Resize', scale=(224, 224), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
