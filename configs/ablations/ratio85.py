_base_ = '../adamae_vitb_ssv2_pretrain.py'

model = dict(sampler=dict(mask_ratio=0.85))
