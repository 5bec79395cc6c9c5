# HMDB51 as tools/data/prepare.py writes it, labeled; every second frame, 10 x 3 test
# views.
_base_ = 'ucf101_finetune.py'

num_classes = 51
sample = dict(_base_.sample, frame_interval=2)
test_sample = dict(_base_.test_sample, frame_interval=2, num_clips=10)
videos = dict(video='data/hmdb51/videos')

train_pipeline = [
    _base_.init,
    dict(sample, num_clips=1),
    *_base_.train_pipeline[2:],
]
val_pipeline = [_base_.init, dict(sample, test_mode=True), *_base_.center_view]
test_pipeline = [_base_.init, test_sample, *_base_.three_views]

train_dataloader = dict(
    dataset=dict(
        ann_file='data/hmdb51/train.txt', data_prefix=videos, pipeline=train_pipeline
    )
)
held_out = dict(ann_file='data/hmdb51/val.txt', data_prefix=videos)
val_dataloader = dict(dataset=dict(held_out, pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(held_out, pipeline=test_pipeline))
