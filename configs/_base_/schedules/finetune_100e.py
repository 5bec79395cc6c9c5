# Twice the epochs, twice the learning rate.
_base_ = 'finetune_50e.py'

base_lr = 1e-3  # at 256 clips per step

train_cfg = dict(max_epochs=100)
optim_wrapper = dict(optimizer=dict(lr=base_lr * 512 / 256))
warmup, cosine = _base_.param_scheduler
warmup.start_factor = cosine.eta_min_ratio = 1e-6 / base_lr
param_scheduler = [warmup, cosine]
