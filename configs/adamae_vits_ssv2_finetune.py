_base_ = 'adamae_vitb_ssv2_finetune.py'

model = dict(backbone=dict(embed_dims=384, num_heads=6), cls_head=dict(in_channels=384))
