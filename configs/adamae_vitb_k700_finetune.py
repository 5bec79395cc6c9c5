# Kinetics-700 as tools/data/prepare.py writes it; Kinetics-400's recipe.
_base_ = 'adamae_vitb_k400_finetune.py'

num_classes = 700
labeled = dict(
    data_prefix=dict(video='data/k700/videos'),
    metainfo=dict(classes='data/k700/classes.txt'),
)
model = dict(cls_head=dict(num_classes=num_classes))
train_dataloader = dict(dataset=dict(ann_file='data/k700/train.txt', **labeled))
val_dataloader = dict(dataset=dict(ann_file='data/k700/val.txt', **labeled))
test_dataloader = val_dataloader
auto_scale_lr = dict(enable=True)
