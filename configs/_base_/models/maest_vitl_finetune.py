# The encoder of SpatiotemporalMAE, ViT-L, on all 1568 tokens of 16 frames of 224 x 224
# pixels; mean of the patch tokens, LayerNorm, dropout, one linear layer.
_base_ = 'vit_finetune.py'

model = dict(
    data_preprocessor=dict(mean=[0.45 * 255] * 3, std=[0.225 * 255] * 3),
    backbone=dict(
        type='SeparableVisionTransformer',
        embed_dims=1024,
        depth=24,
        num_heads=16,
        drop_path_rate=0.2,
    ),
    cls_head=dict(in_channels=1024, dropout_ratio=0.3),
)
