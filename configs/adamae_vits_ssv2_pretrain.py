_base_ = 'adamae_vitb_ssv2_pretrain.py'

model = dict(backbone=dict(embed_dims=384, num_heads=6))
