# HMDB51 as tools/data/prepare.py writes it, no labels used. Its videos are short:
# every second frame.
_base_ = 'pretrain.py'

train_pipeline = [
    _base_.init,
    dict(_base_.sample, frame_interval=2),
    *_base_.train_pipeline[2:],
]
train_dataloader = dict(
    batch_size=24,
    dataset=dict(
        ann_file='data/hmdb51/train.txt',
        data_prefix=dict(video='data/hmdb51/videos'),
        pipeline=train_pipeline,
    ),
)
