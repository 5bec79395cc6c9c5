# Kinetics-400, no labels used; four clips of every video that is opened, each with its
# own start, crop and flip (repeated sampling).
_base_ = 'k400_pretrain.py'

train_pipeline = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=16, frame_interval=4, num_clips=1),
    dict(type='DecordDecode'),
    dict(
        type='RandomResizedCrop',
        area_range=(0.5, 1.0),
        aspect_ratio_range=(3 / 4, 4 / 3),
    ),
    dict(type='Resize', scale=(224, 224), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
train_dataloader = dict(
    batch_size=8,  # videos; 32 clips
    collate_fn=dict(type='repeat_pseudo_collate'),
    dataset=dict(
        type='TolerantRepeatAugDataset', num_repeats=4, pipeline=train_pipeline
    ),
)
