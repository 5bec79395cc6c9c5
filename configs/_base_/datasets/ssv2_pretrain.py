# Something-Something v2, no labels used. No flip: its classes have a direction.
_base_ = ['pretrain.py', 'ssv2_files.py']

train_pipeline = [
    _base_.init,
    dict(_base_.sample, frame_interval=2),
    _base_.decode,
    _base_.multi_scale_crop,
    _base_.resize,
    *_base_.pack,
]
train_dataloader = dict(dataset=dict(_base_.ssv2_train, pipeline=train_pipeline))
