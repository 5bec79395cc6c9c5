_base_ = '../adamae_vitb_ssv2_pretrain.py'

model = dict(decoder=dict(depth=2))
