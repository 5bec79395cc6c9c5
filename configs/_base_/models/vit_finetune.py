# ViT-B on all 1568 tokens of 16 frames of 224 x 224 pixels; mean of the tokens,
# LayerNorm, one linear layer. For K400's classes; SSv2's config has another number.
model = dict(
    type='Recognizer3D',
    data_preprocessor=dict(
        type='BatchedDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape='NCTHW',
        # One of the two every batch, equally likely.
        blending=dict(
            type='RandomBatchAugment',
            augments=[
                dict(type='MixupBlending', alpha=0.8, num_classes=400),
                dict(type='CutmixBlending', alpha=1.0, num_classes=400),
            ],
        ),
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
        drop_path_rate=0.1,
        with_cp=False,
    ),
    cls_head=dict(
        type='TimeSformerHead',
        num_classes=400,
        in_channels=768,
        init_std=0.02 * 0.001,
        label_smooth_eps=0.1,
        average_clips='prob',
    ),
    # How many views of a video run at once in testing, None for all of them. A number
    # needs test_dataloader.batch_size=1 (and while training, val_dataloader's too).
    test_cfg=dict(max_testing_views=None),
)
