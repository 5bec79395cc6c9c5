_base_ = [
    '_base_/models/vitb_linear.py',
    '_base_/datasets/ssv2_finetune.py',
    '_base_/schedules/linear_90e.py',
]

model = dict(cls_head=dict(num_classes=_base_.num_classes))
# Crops only.
train_pipeline = [
    step for step in _base_.train_pipeline if step.type != 'TransformBroadcaster'
]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
