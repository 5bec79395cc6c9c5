# A linear classifier on the encoder of motion_pretrain.py, which stays as it is.
_base_ = 'motion_finetune.py'

model = dict(
    backbone=dict(type='FrozenVisionTransformer'),
    cls_head=dict(type='LinearProbeHead'),
)
optim_wrapper = dict(
    _delete_=True, type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9)
)
