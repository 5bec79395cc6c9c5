# Fine-tune with adamae_vits_ssv2_finetune.py.
_base_ = 'videomae_vitb_ssv2_pretrain.py'

model = dict(
    backbone=dict(embed_dims=384, num_heads=6),
    decoder=dict(embed_dims=192, num_heads=3),
)
