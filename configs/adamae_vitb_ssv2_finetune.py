_base_ = [
    '_base_/models/vit_finetune.py',
    '_base_/datasets/ssv2_finetune.py',
    '_base_/schedules/finetune_50e.py',
]

mixup, cutmix = _base_.model.data_preprocessor.blending.augments
mixup.num_classes = cutmix.num_classes = _base_.num_classes
model = dict(
    data_preprocessor=dict(blending=dict(augments=[mixup, cutmix])),
    cls_head=dict(num_classes=_base_.num_classes),
)
