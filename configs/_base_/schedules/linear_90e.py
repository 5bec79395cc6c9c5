# 90 epochs of SGD without weight decay. (LARS, of the image papers, is for batches of
# thousands.) 8 GPUs x 64 clips; `--auto-scale-lr` follows any other number of GPUs.
_base_ = 'finetune_50e.py'

base_lr = 0.1  # at 256 clips per step
warmup_epochs = 10

train_cfg = dict(max_epochs=90, val_interval=10)
optim_wrapper = dict(
    _delete_=True,
    type='AmpOptimWrapper',
    optimizer=dict(type='SGD', lr=base_lr * 512 / 256, momentum=0.9, weight_decay=0.0),
)
warmup, cosine = _base_.param_scheduler
warmup.update(start_factor=1e-4, end=warmup_epochs)
cosine.update(eta_min=0.0, begin=warmup_epochs)
cosine.pop('eta_min_ratio')
param_scheduler = [warmup, cosine]

default_hooks = dict(checkpoint=dict(interval=10))
