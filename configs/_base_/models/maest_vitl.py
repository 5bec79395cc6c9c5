# SpatiotemporalMAE, ViT-L, 16 frames of 224 x 224 pixels: 1568 tokens, 156 of them
# visible; 8 frames are predicted.
model = dict(
    type='MAERecognizer',
    data_preprocessor=dict(
        type='AdaMAEDataPreprocessor',
        mean=[0.45 * 255] * 3,
        std=[0.225 * 255] * 3,
        format_shape='NCTHW',
    ),
    backbone=dict(
        type='SeparableVisionTransformer',
        img_size=224,
        patch_size=16,
        num_frames=16,
        tubelet_size=2,
        embed_dims=1024,
        depth=24,
        num_heads=16,
    ),
    sampler=dict(type='RandomSamplerHead', mask_ratio=0.9),
    decoder=dict(type='SeparableMAEDecoder', embed_dims=512, depth=4, num_heads=16),
    # The published 1e-6 is added where pixels are divided by 0.225.
    loss=dict(type='SpatiotemporalMAELoss', eps=1e-6 * 0.225**2),
)
