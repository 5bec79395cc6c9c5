# Pre-training, no labels used.
_base_ = 'videos.py'

sample = dict(type='RepeatLastSampleFrames', clip_len=16, frame_interval=4, num_clips=1)
multi_scale_crop = dict(
    type='MultiScaleCropWithinFrame',
    input_size=224,
    scales=(1, 0.875, 0.75, 0.66),
    random_crop=False,
    num_fixed_crops=13,
    max_wh_scale_gap=1,
)
train_pipeline = [
    _base_.init,
    sample,
    _base_.decode,
    multi_scale_crop,
    _base_.resize,
    _base_.flip,
    *_base_.pack,
]
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
