# Not in the paper; regularized as VideoMAE's released ViT-H run on Kinetics-400.
_base_ = 'adamae_vitb_k400_finetune.py'

model = dict(
    backbone=dict(
        embed_dims=1280, depth=32, num_heads=16, drop_path_rate=0.2, with_cp=True
    ),
    cls_head=dict(in_channels=1280, dropout_ratio=0.5),
)
optim_wrapper = dict(paramwise_cfg=dict(num_layers=32))
