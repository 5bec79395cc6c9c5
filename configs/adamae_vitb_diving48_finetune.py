# Not in the papers: Something-Something's recipe, as Diving48 is about motion, too.
_base_ = [
    '_base_/models/vit_finetune.py',
    '_base_/datasets/diving48_finetune.py',
    '_base_/schedules/finetune_50e.py',
]

model = dict(cls_head=dict(num_classes=_base_.num_classes))
auto_scale_lr = dict(enable=True)
