# 50 epochs of AdamW, learning rates that fall by 0.75 from block to block towards the
# input; both ends of the cosine scale with the learning rate.
_base_ = '../default_runtime.py'

base_lr = 5e-4  # at 256 clips per step
warmup_epochs = 5

train_cfg = dict(type='ResumableEpochTrainLoop', max_epochs=50, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
val_evaluator = dict(type='AccMetric')  # top 1, top 5 and the mean over classes
test_evaluator = val_evaluator

optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(
        type='AdamW',
        lr=base_lr * 512 / 256,
        betas=(0.9, 0.999),
        weight_decay=0.05,
        fused=True,
    ),
    # Tokenizer and positions 0.75^13, block i 0.75^(12 - i), head 1.
    constructor='LearningRateDecayOptimizerConstructor',
    paramwise_cfg=dict(decay_type='layer_wise', decay_rate=0.75, num_layers=12),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-6 / base_lr,
        by_epoch=True,
        begin=0,
        end=warmup_epochs,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=1e-6 / base_lr,
        by_epoch=True,
        begin=warmup_epochs,
        convert_to_iter_based=True,
    ),
]
# 32 GPUs x 16 clips; `--auto-scale-lr` follows any other number of GPUs.
auto_scale_lr = dict(enable=False, base_batch_size=512)

default_hooks = dict(checkpoint=dict(interval=5, save_best='acc/top1', rule='greater'))
