# 90 epochs of SGD without weight decay. (LARS, of the image papers, is for batches of
# thousands.)
_base_ = '../default_runtime.py'

base_lr = 0.1  # for 256 clips a step

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=90, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator

optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(type='SGD', lr=base_lr * 512 / 256, momentum=0.9, weight_decay=0.0),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-4,
        by_epoch=True,
        begin=0,
        end=10,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min=0.0,
        by_epoch=True,
        begin=10,
        convert_to_iter_based=True,
    ),
]
# 8 GPUs x 64 clips; `--auto-scale-lr` follows any other number of GPUs.
auto_scale_lr = dict(enable=False, base_batch_size=512)

default_hooks = dict(checkpoint=dict(interval=10, save_best='acc/top1', rule='greater'))
