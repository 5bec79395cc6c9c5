# VideoMAE, ViT-B, 1600 epochs; see videomae_vitb_ssv2_pretrain.py. Clips are flipped as
# AdaMAE's are; VideoMAE's released code flips none.
# Fine-tune with adamae_vitb_k400_finetune.py.
_base_ = 'adamae_vitb_k400_pretrain.py'

model = dict(sampler=dict(_delete_=True, type='TubeSamplerHead', mask_ratio=0.9))
train_cfg = dict(max_epochs=1600)
