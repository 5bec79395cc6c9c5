# AdamW, warm-up from 0, cosine to 0. An epoch takes four clips of every video: 200 are
# the paper's 800; the released weights took 400 (1600).
base_lr = 1.6e-3  # for 256 videos a step: the four clips of a video are not counted
warmup_epochs = 5

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=200)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    optimizer=dict(
        type='AdamW',
        lr=base_lr * 512 / 256,
        betas=(0.9, 0.95),
        weight_decay=0.05,
        fused=True,
    ),
    constructor='MergedOptimWrapperConstructor',
    # No decay on biases and norms; tokens and positions are decayed.
    paramwise_cfg=dict(flat_decay_mult=0.0),
    clip_grad=dict(max_norm=0.02),
)
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-6,  # it cannot be 0
        by_epoch=True,
        begin=0,
        end=warmup_epochs,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min=0.0,
        by_epoch=True,
        begin=warmup_epochs,
        convert_to_iter_based=True,
    ),
]
# 64 GPUs x 8 videos; `--auto-scale-lr` follows any other number of GPUs, and counts
# videos as well.
auto_scale_lr = dict(enable=False, base_batch_size=512)
