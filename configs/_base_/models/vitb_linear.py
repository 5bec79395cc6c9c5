# ViT-B as pre-training left it; BatchNorm without weights and one linear layer on the
# mean of its tokens are trained.
model = dict(
    type='Recognizer3D',
    data_preprocessor=dict(
        type='BatchedDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape='NCTHW',
    ),
    backbone=dict(
        type='FrozenVisionTransformer',
        img_size=224,
        patch_size=16,
        num_frames=16,
        tubelet_size=2,
        embed_dims=768,
        depth=12,
        num_heads=12,
    ),
    cls_head=dict(
        type='LinearProbeHead', num_classes=400, in_channels=768, average_clips='prob'
    ),
)
