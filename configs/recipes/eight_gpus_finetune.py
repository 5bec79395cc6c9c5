# 8 GPUs instead of 32: an update takes 128 clips, and the rate is a quarter of that
# for 512. With accumulative_counts=4 it is the published one.
_base_ = '../adamae_vitb_k400_finetune.py'

auto_scale_lr = dict(enable=True)
