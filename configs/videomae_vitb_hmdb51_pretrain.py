# As videomae_vitb_ucf101_pretrain.py, on HMDB51; no script for it was released.
_base_ = 'adamae_vitb_hmdb51_pretrain.py'

model = dict(sampler=dict(_delete_=True, type='TubeSamplerHead', mask_ratio=0.75))
