# 8 GPUs instead of 64: eight passes of 8 GPUs x 8 videos x 4 clips are one update.
_base_ = '../maest_vitl_k400_pretrain.py'

optim_wrapper = dict(accumulative_counts=8)
auto_scale_lr = dict(enable=True)
