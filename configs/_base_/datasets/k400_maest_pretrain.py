# Kinetics-400, no labels used; four clips of every video that is opened, each with its
# own start, crop and flip (repeated sampling).
_base_ = 'k400_pretrain.py'

train_pipeline = [
    _base_.init,
    _base_.sample,
    _base_.decode,
    dict(
        type='RandomResizedCropWithinRatio',
        area_range=(0.5, 1.0),
        aspect_ratio_range=(3 / 4, 4 / 3),
    ),
    _base_.resize,
    _base_.flip,
    *_base_.pack,
]
train_dataloader = dict(
    batch_size=8,  # videos; 32 clips
    collate_fn=dict(type='repeat_pseudo_collate'),
    dataset=dict(
        type='TolerantRepeatAugDataset', num_repeats=4, pipeline=train_pipeline
    ),
)
