# As UCF101's, but for what EVEREST's (arXiv:2211.10636) released script for HMDB51 has:
# every second frame, 50 epochs, twice the rate, 10 x 3 test views.
_base_ = [
    '_base_/models/vit_finetune.py',
    '_base_/datasets/hmdb51_finetune.py',
    '_base_/schedules/ucf101_finetune_100e.py',
]

model = dict(
    backbone=dict(drop_path_rate=0.2),
    cls_head=dict(num_classes=_base_.num_classes, dropout_ratio=0.5),
)
train_cfg = dict(max_epochs=50)
optim_wrapper = dict(optimizer=dict(lr=2 * _base_.base_lr))
