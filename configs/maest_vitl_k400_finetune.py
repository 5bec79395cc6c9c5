_base_ = [
    '_base_/models/maest_vitl_finetune.py',
    '_base_/datasets/k400_maest_finetune.py',
    '_base_/schedules/maest_finetune_50e.py',
]
