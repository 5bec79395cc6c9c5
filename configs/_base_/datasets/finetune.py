# Fine-tuning and testing, with labels.
_base_ = 'videos.py'

sample = dict(
    type='SampleFrames', clip_len=16, frame_interval=4, out_of_bound_opt='repeat_last'
)
# The published test views; MMAction2's own: 'SampleFrames', 'ThreeCrop'.
test_sample = dict(
    type='StridedSampleFrames',
    clip_len=16,
    frame_interval=4,
    num_clips=5,
    test_mode=True,
)
resize_short = dict(type='Resize', scale=(-1, 224))
center_view = [
    _base_.decode,
    resize_short,
    dict(type='CenterCrop', crop_size=224),
    *_base_.pack,
]
pack_test = [
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', meta_keys=('filename',)),
]
three_views = [
    _base_.decode,
    resize_short,
    dict(type='EvenThreeCrop', crop_size=224),
    *pack_test,
]

# Drawn once per clip, applied to all of its frames.
for_all_frames = dict(
    type='TransformBroadcaster',
    mapping=dict(img='imgs'),
    auto_remap=True,
    share_random_params=True,
)
swap = dict(type='SwapRedBlue')  # MMPretrain augments BGR
rand_augment = dict(
    type='RandAugment',
    _scope_='mmpretrain',  # where its operations are looked up, too
    policies='timm_increasing',
    num_policies=4,
    total_level=10,
    magnitude_level=7,
    magnitude_std=0.5,
    hparams=dict(pad_val=[128, 128, 128], interpolation='bicubic'),
)
# One box, filled with standard normal noise (in the model's eyes).
random_erasing = dict(
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
random_resized_crop = dict(
    type='RandomResizedCropWithinRatio',
    area_range=(0.08, 1.0),
    aspect_ratio_range=(3 / 4, 4 / 3),
)

train_pipeline = [
    _base_.init,
    dict(sample, num_clips=1),
    _base_.decode,
    dict(for_all_frames, transforms=[swap, rand_augment, swap]),
    random_resized_crop,
    _base_.resize,
    _base_.flip,
    dict(for_all_frames, transforms=[random_erasing]),
    *_base_.pack,
]
val_pipeline = [_base_.init, dict(sample, test_mode=True), *center_view]
test_pipeline = [_base_.init, test_sample, *three_views]

train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=16,
    num_workers=10,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='TolerantVideoDataset', pipeline=val_pipeline, test_mode=True),
)
test_dataloader = dict(
    batch_size=1,  # of all its views
    num_workers=10,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='TolerantVideoDataset', pipeline=test_pipeline, test_mode=True),
)
