_base_ = [
    '_base_/models/adamae_vitb.py',
    '_base_/datasets/k400_pretrain.py',
    '_base_/schedules/pretrain_800e.py',
    '_base_/default_runtime.py',
]
