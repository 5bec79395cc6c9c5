# Kinetics-400, labeled; two clips of every video that is opened. RandAugment has two
# operations instead of four, erasing the mean and standard deviation of this model, the
# test 7 x 3 views.
_base_ = 'k400_finetune.py'

random_erasing = dict(
    _base_.random_erasing, fill_color=[0.45 * 255] * 3, fill_std=[0.225 * 255] * 3
)
rand_augment = dict(_base_.rand_augment, num_policies=2)
train_pipeline = [
    _base_.init,
    dict(_base_.sample, num_clips=1),
    _base_.decode,
    dict(_base_.for_all_frames, transforms=[_base_.swap, rand_augment, _base_.swap]),
    _base_.random_resized_crop,
    _base_.resize,
    _base_.flip,
    dict(_base_.for_all_frames, transforms=[random_erasing]),
    *_base_.pack,
]
test_sample = dict(_base_.test_sample, num_clips=7)
test_pipeline = [_base_.init, test_sample, *_base_.three_views]

train_dataloader = dict(
    batch_size=8,  # videos; 16 clips
    collate_fn=dict(type='repeat_pseudo_collate'),
    dataset=dict(
        type='TolerantRepeatAugDataset', num_repeats=2, pipeline=train_pipeline
    ),
)
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
