# 2400 epochs are the paper's; its script was not released: decoder and batch are those
# of videomae_vitl_k400_pretrain.py. Add --auto-scale-lr.
# Fine-tune with adamae_vitl_ssv2_finetune.py.
_base_ = 'videomae_vitb_ssv2_pretrain.py'

model = dict(
    backbone=dict(embed_dims=1024, depth=24, num_heads=16),
    decoder=dict(embed_dims=512, depth=12, num_heads=8),
)
train_dataloader = dict(batch_size=8)
