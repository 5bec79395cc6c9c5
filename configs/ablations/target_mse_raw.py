_base_ = '../adamae_vitb_ssv2_pretrain.py'

model = dict(loss=dict(norm_pix=False))
