# AdamW, warm-up from 0, cosine to 0. An epoch takes four clips of every video: 200 are
# the paper's 800; the released weights took 400 (1600).
_base_ = 'pretrain_800e.py'

base_lr = 1.6e-3  # at 256 videos per step: the four clips of a video are not counted
warmup_epochs = 5

train_cfg = dict(max_epochs=200)
optim_wrapper = dict(
    optimizer=dict(lr=base_lr * 512 / 256),
    # No decay on biases and norms; tokens and positions are decayed.
    paramwise_cfg=dict(_delete_=True, flat_decay_mult=0.0),
    clip_grad=dict(max_norm=0.02),
)
warmup, cosine = _base_.param_scheduler
warmup.update(start_factor=1e-6, end=warmup_epochs)  # the factor cannot be 0
cosine.update(eta_min=0.0, begin=warmup_epochs)
cosine.pop('eta_min_ratio')
param_scheduler = [warmup, cosine]
# 64 GPUs x 8 videos x 4 clips; `--auto-scale-lr` follows any other number of GPUs.
auto_scale_lr = dict(base_batch_size=2048)
