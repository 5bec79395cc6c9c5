_base_ = '../adamae_vitb_ssv2_pretrain.py'

train_cfg = dict(max_epochs=600)
