# AdaMAE on UCF101: its paper has no such run; the schedule is VideoMAE's for UCF101.
# Fine-tune with adamae_vitb_ucf101_finetune.py.
_base_ = [
    '_base_/models/adamae_vitb.py',
    '_base_/datasets/ucf101_pretrain.py',
    '_base_/schedules/ucf101_pretrain_3200e.py',
    '_base_/default_runtime.py',
]
