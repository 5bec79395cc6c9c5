# Videos of tools/make_motion_dataset.py (32 x 32 pixels, the label is the motion), in
# data/motion or where the environment variable MOTION_DATA says.
_base_ = ['../_base_/default_runtime.py', '../_base_/datasets/videos.py']

data_root = '{{$MOTION_DATA:data/motion}}/'
mask_root = data_root + 'object_masks'
video_root = data_root + 'videos'

sample = dict(type='SampleFrames', clip_len=16, frame_interval=1)
val_sample = dict(sample, test_mode=True)

train_dataloader = dict(
    num_workers=2,
    dataset=dict(
        type='TolerantVideoDataset',
        ann_file=data_root + 'train.txt',
        data_prefix=dict(video=video_root),
    ),
)
val_dataloader = dict(
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='TolerantVideoDataset',
        ann_file=data_root + 'val.txt',
        data_prefix=dict(video=video_root),
        test_mode=True,
    ),
)
default_hooks = dict(
    logger=dict(interval=25), checkpoint=dict(interval=1, max_keep_ckpts=2)
)
log_processor = dict(window_size=25)
