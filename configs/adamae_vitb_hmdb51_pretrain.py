# AdaMAE on HMDB51: its paper has no such run; the schedule is that of UCF101, the 4800
# epochs are EVEREST's (arXiv:2211.10636) for HMDB51.
_base_ = [
    '_base_/models/adamae_vitb.py',
    '_base_/datasets/hmdb51_pretrain.py',
    '_base_/schedules/ucf101_pretrain_3200e.py',
    '_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=4800)
