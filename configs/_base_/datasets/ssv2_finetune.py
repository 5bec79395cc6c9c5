# Something-Something v2, labelled. No flip: its classes have a direction.
# The published test views; MMAction2's own: 'UniformSample', 'ThreeCrop'.
test_frames, test_crops = 'SegmentSampleFrames', 'EvenThreeCrop'

# Every operation is drawn once a clip and applied to all of its frames.
rand_augment = dict(
    type='TransformBroadcaster',
    mapping=dict(img='imgs'),
    auto_remap=True,
    share_random_params=True,
    transforms=[
        dict(
            type='RandAugment',
            _scope_='mmpretrain',  # where its operations are looked up, too
            policies='timm_increasing',
            num_policies=4,
            total_level=10,
            magnitude_level=7,
            magnitude_std=0.5,
            hparams=dict(pad_val=[128, 128, 128], interpolation='bicubic'),
        )
    ],
)
# One box a clip, filled with standard normal noise (in the model's eyes).
random_erasing = dict(
    type='TransformBroadcaster',
    mapping=dict(img='imgs'),
    auto_remap=True,
    share_random_params=True,
    transforms=[
        dict(
            type='RandomErasing',
            _scope_='mmpretrain',
            erase_prob=0.25,
            min_area_ratio=0.02,
            max_area_ratio=1 / 3,
            aspect_range=(0.3, 1 / 0.3),
            mode='rand',
            fill_color=[123.675, 116.28, 103.53],
            fill_std=[58.395, 57.12, 57.375],
        )
    ],
)

train_pipeline = [
    dict(type='DecordInit'),
    dict(type='SegmentSampleFrames', clip_len=16),
    dict(type='DecordDecode'),
    rand_augment,
    dict(
        type='RandomResizedCrop',
        area_range=(0.08, 1.0),
        aspect_ratio_range=(3 / 4, 4 / 3),
    ),
    dict(type='Resize', scale=(224, 224), keep_ratio=False),
    random_erasing,
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
val_pipeline = [
    dict(type='DecordInit'),
    dict(type='SegmentSampleFrames', clip_len=16, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 224)),
    dict(type='CenterCrop', crop_size=224),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
test_pipeline = [
    dict(type='DecordInit'),
    dict(type=test_frames, clip_len=16, num_clips=2, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 224)),
    dict(type=test_crops, crop_size=224),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', meta_keys=('filename',)),
]

train_dataloader = dict(
    batch_size=16,
    num_workers=10,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='TolerantVideoDataset',
        ann_file='data/sthv2/sthv2_train_list_videos.txt',
        data_prefix=dict(video='data/sthv2/videos'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=10,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='TolerantVideoDataset',
        ann_file='data/sthv2/sthv2_val_list_videos.txt',
        data_prefix=dict(video='data/sthv2/videos'),
        pipeline=val_pipeline,
        test_mode=True,
    ),
)
test_dataloader = dict(
    batch_size=1,  # of 2 x 3 views
    num_workers=10,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='TolerantVideoDataset',
        ann_file='data/sthv2/sthv2_val_list_videos.txt',
        data_prefix=dict(video='data/sthv2/videos'),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
