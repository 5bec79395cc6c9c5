_base_ = '../adamae_vitb_ssv2_pretrain.py'

model = dict(sampler=dict(_delete_=True, type='TubeSamplerHead', mask_ratio=0.9))
