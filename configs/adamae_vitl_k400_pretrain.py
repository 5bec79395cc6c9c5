_base_ = 'adamae_vitb_k400_pretrain.py'

model = dict(backbone=dict(embed_dims=1024, depth=24, num_heads=16))
