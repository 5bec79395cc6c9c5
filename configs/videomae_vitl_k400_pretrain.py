# The released run is 64 GPUs x 8 clips: add --auto-scale-lr. Its decoder has 12 blocks.
# Fine-tune with adamae_vitl_k400_finetune.py.
_base_ = 'videomae_vitb_k400_pretrain.py'

model = dict(
    backbone=dict(embed_dims=1024, depth=24, num_heads=16),
    decoder=dict(embed_dims=512, depth=12, num_heads=8),
)
train_dataloader = dict(batch_size=8)
