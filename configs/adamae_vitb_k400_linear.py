_base_ = [
    '_base_/models/vitb_linear.py',
    '_base_/datasets/k400_finetune.py',
    '_base_/schedules/linear_90e.py',
]

# Crops and flips only.
train_pipeline = [
    step for step in _base_.train_pipeline if step.type != 'TransformBroadcaster'
]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
