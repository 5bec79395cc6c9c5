_base_ = [
    '_base_/models/maest_vitl.py',
    '_base_/datasets/k400_maest_pretrain.py',
    '_base_/schedules/maest_pretrain_200e.py',
    '_base_/default_runtime.py',
]
