_base_ = '../adamae_vitb_ssv2_pretrain.py'

model = dict(loss=dict(criterion='l1', norm_pix=False))
