# Kinetics-400, labelled; two clips of every video that is opened. RandAugment has two
# operations instead of four, erasing the mean and deviation of this model, the test
# 7 x 3 views.
_base_ = 'k400_finetune.py'

train_pipeline = _base_.train_pipeline
train_pipeline[3].transforms[0].num_policies = 2
train_pipeline[7].transforms[0].update(
    fill_color=[0.45 * 255] * 3, fill_std=[0.225 * 255] * 3
)
test_pipeline = _base_.test_pipeline
test_pipeline[1].num_clips = 7

train_dataloader = dict(
    batch_size=8,  # videos; 16 clips
    collate_fn=dict(type='repeat_pseudo_collate'),
    dataset=dict(
        type='TolerantRepeatAugDataset', num_repeats=2, pipeline=train_pipeline
    ),
)
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
