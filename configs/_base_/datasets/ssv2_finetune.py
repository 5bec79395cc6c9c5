# Something-Something v2, labeled; 2 x 3 test views. No flip: its classes have a
# direction.
_base_ = ['finetune.py', 'ssv2_files.py']

num_classes = 174
# MMAction2's own test views: 'UniformSample', 'ThreeCrop'.
segments = dict(type='SegmentSampleFrames', clip_len=16)

train_pipeline = [
    _base_.init,
    segments,
    _base_.decode,
    dict(
        _base_.for_all_frames,
        transforms=[_base_.swap, _base_.rand_augment, _base_.swap],
    ),
    _base_.random_resized_crop,
    _base_.resize,
    dict(_base_.for_all_frames, transforms=[_base_.random_erasing]),
    *_base_.pack,
]
val_pipeline = [_base_.init, dict(segments, test_mode=True), *_base_.center_view]
test_pipeline = [
    _base_.init,
    dict(segments, num_clips=2, test_mode=True),
    *_base_.three_views,
]

train_dataloader = dict(dataset=dict(_base_.ssv2_train, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(_base_.ssv2_val, pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(_base_.ssv2_val, pipeline=test_pipeline))
