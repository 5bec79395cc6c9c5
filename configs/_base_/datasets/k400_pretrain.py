# Kinetics-400, no labels used.
_base_ = 'ssv2_pretrain.py'

train_pipeline = _base_.train_pipeline
train_pipeline[1].frame_interval = 4
train_pipeline.insert(5, dict(type='Flip', flip_ratio=0.5))
train_dataloader = dict(
    dataset=dict(
        ann_file='data/kinetics400/kinetics400_train_list_videos.txt',
        data_prefix=dict(video='data/kinetics400/videos_train'),
        pipeline=train_pipeline,
    )
)
