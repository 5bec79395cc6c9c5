# Kinetics-700 as tools/data/prepare.py writes it; Kinetics-400's recipe.
_base_ = 'adamae_vitb_k400_pretrain.py'

train_dataloader = dict(
    dataset=dict(
        ann_file='data/k700/train.txt', data_prefix=dict(video='data/k700/videos')
    )
)
auto_scale_lr = dict(enable=True)
