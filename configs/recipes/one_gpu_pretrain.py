# One GPU instead of 8: eight passes of 32 clips are one update, as published.
_base_ = '../adamae_vitb_k400_pretrain.py'

optim_wrapper = dict(accumulative_counts=8)
auto_scale_lr = dict(enable=True)
