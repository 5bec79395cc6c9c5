# 800 epochs of AdamW; both ends of the cosine scale with the learning rate.
base_lr = 1.5e-4  # at 256 clips per step
warmup_epochs = 40

train_cfg = dict(type='ResumableEpochTrainLoop', max_epochs=800)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(
        type='AdamW',
        lr=base_lr * 256 / 256,
        betas=(0.9, 0.95),
        weight_decay=0.05,
        fused=True,
    ),
    # Equal parameter groups joined: 2 instead of one per parameter.
    constructor='MergedOptimWrapperConstructor',
    # No decay on biases, norms and the mask token.
    paramwise_cfg=dict(
        flat_decay_mult=0.0, custom_keys={'mask_token': dict(decay_mult=0.0)}
    ),
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
    # Without an end of its own it ends with the run.
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=1e-5 / base_lr,
        by_epoch=True,
        begin=warmup_epochs,
        convert_to_iter_based=True,
    ),
]
# 8 GPUs x 32 clips; `--auto-scale-lr` follows any other number of GPUs.
auto_scale_lr = dict(enable=False, base_batch_size=256)
