# VideoMAE (arXiv:2203.12602), ViT-B: tube masks over 90% of the tokens, 2400 epochs.
# AdaMAE took decoder, target, clips, optimizer and schedule over from it.
# The released runs are 64 GPUs x 32 clips: add --auto-scale-lr.
# Fine-tune with adamae_vitb_ssv2_finetune.py: the encoder is the same.
_base_ = 'adamae_vitb_ssv2_pretrain.py'

model = dict(sampler=dict(_delete_=True, type='TubeSamplerHead', mask_ratio=0.9))
train_cfg = dict(max_epochs=2400)
