# Kinetics-700 as tools/data/prepare.py writes it; Kinetics-400's recipe.
_base_ = 'adamae_vitb_k400_finetune.py'

num_classes = 700
videos = dict(video='data/k700/videos')
model = dict(cls_head=dict(num_classes=num_classes))
train_dataloader = dict(
    dataset=dict(ann_file='data/k700/train.txt', data_prefix=videos)
)
val_dataloader = dict(dataset=dict(ann_file='data/k700/val.txt', data_prefix=videos))
test_dataloader = val_dataloader
auto_scale_lr = dict(enable=True)
