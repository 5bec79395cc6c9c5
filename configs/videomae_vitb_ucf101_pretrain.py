# VideoMAE (arXiv:2203.12602) on UCF101, ViT-B: tube masks over 75% of the tokens, 3200
# epochs, as released. Clips are flipped, which the released code does not.
_base_ = 'adamae_vitb_ucf101_pretrain.py'

model = dict(sampler=dict(_delete_=True, type='TubeSamplerHead', mask_ratio=0.75))
