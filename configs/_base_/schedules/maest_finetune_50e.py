# An epoch takes two clips of every video: 50 are the paper's 100.
_base_ = 'finetune_50e.py'

base_lr = 2.4e-3  # at 256 clips per step: here both clips of a video are counted

optim_wrapper = dict(
    optimizer=dict(lr=base_lr * 512 / 256),
    # As MMAction2's; class token and positions: layer 0 and no weight decay.
    constructor='TokenLayerDecayOptimizerConstructor',
    paramwise_cfg=dict(decay_rate=0.75, num_layers=24),
    clip_grad=dict(max_norm=5.0),
)
warmup, cosine = _base_.param_scheduler
warmup.start_factor = cosine.eta_min_ratio = 1e-6 / base_lr
param_scheduler = [warmup, cosine]
