# 3200 epochs: VideoMAE's released script for UCF101, whose 9,537 videos are few.
_base_ = 'pretrain_800e.py'

base_lr = 3e-4  # at 256 clips per step; follows the 8 GPUs x 24 clips, or any other

train_cfg = dict(max_epochs=3200)
optim_wrapper = dict(optimizer=dict(lr=base_lr * 256 / 256))
warmup, cosine = _base_.param_scheduler
warmup.start_factor, cosine.eta_min_ratio = 1e-6 / base_lr, 1e-5 / base_lr
param_scheduler = [warmup, cosine]
auto_scale_lr = dict(enable=True)
