_base_ = 'maest_vitl_k400_pretrain.py'

model = dict(backbone=dict(embed_dims=768, depth=12, num_heads=12))
