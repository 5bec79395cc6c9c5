# VideoMAE's released script for UCF101: 100 epochs, rates that fall by 0.7 from block
# to block.
_base_ = 'finetune_50e.py'

base_lr = 5e-4  # at 256 videos of two clips per step; 8 GPUs x 16 videos, or any other

train_cfg = dict(max_epochs=100)
optim_wrapper = dict(
    optimizer=dict(lr=base_lr * 256 / 256), paramwise_cfg=dict(decay_rate=0.7)
)
warmup, cosine = _base_.param_scheduler
warmup.start_factor, cosine.eta_min_ratio = 1e-8 / base_lr, 1e-5 / base_lr
param_scheduler = [warmup, cosine]
auto_scale_lr = dict(enable=True, base_batch_size=2 * 256)
