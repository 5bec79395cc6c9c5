_base_ = '../adamae_vitb_ssv2_pretrain.py'

model = dict(sampler=dict(embed_dims=384, depth=2))
