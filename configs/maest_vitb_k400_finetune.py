_base_ = 'maest_vitl_k400_finetune.py'

# 75 epochs are the paper's 150. The learning rate of ViT-L is kept.
train_cfg = dict(max_epochs=75)
model = dict(
    backbone=dict(embed_dims=768, depth=12, num_heads=12, drop_path_rate=0.1),
    cls_head=dict(in_channels=768),
)
optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.65, num_layers=12))
