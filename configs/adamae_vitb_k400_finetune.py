_base_ = [
    '_base_/models/vit_finetune.py',
    '_base_/datasets/k400_finetune.py',
    '_base_/schedules/finetune_100e.py',
]
