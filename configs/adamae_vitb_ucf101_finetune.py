# After AdaMAE or VideoMAE; VideoMAE's released recipe for UCF101.
_base_ = [
    '_base_/models/vit_finetune.py',
    '_base_/datasets/ucf101_finetune.py',
    '_base_/schedules/ucf101_finetune_100e.py',
]

model = dict(
    backbone=dict(drop_path_rate=0.2),
    cls_head=dict(num_classes=_base_.num_classes, dropout_ratio=0.5),
)
