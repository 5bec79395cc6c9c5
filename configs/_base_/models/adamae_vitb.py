# AdaMAE, ViT-B, 16 frames of 224 x 224 pixels: 1568 tokens, 78 of them visible.
model = dict(
    type='MAERecognizer',
    data_preprocessor=dict(
        type='AdaMAEDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape='NCTHW',
    ),
    backbone=dict(
        type='MaskedVisionTransformer',
        img_size=224,
        patch_size=16,
        num_frames=16,
        tubelet_size=2,
        embed_dims=768,
        depth=12,
        num_heads=12,
        init_cfg=dict(type='Xavier', layer='Linear', distribution='uniform'),
    ),
    sampler=dict(type='AdaptiveSamplerHead', mask_ratio=0.95, num_heads=8, depth=1),
    decoder=dict(type='MAEDecoder', embed_dims=384, depth=4, num_heads=6),
    loss=dict(type='AdaMAELoss', norm_pix=True, sampling_weight=1e-4),
)
