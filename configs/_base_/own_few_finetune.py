# What tools/new_dataset.py writes over where few videos have a label: crops and flips
# only, no blending, no smoothing, and a rate that batches of a few clips learn with
# (docs/datasets.md). The last checkpoint counts: few videos cannot choose one.
_base_ = 'own_finetune.py'

model = dict(data_preprocessor=dict(blending=None), cls_head=dict(label_smooth_eps=0.0))
augment = [
    _base_.decode,
    dict(_base_.random_resized_crop, area_range=(0.5, 1.0)),
    _base_.resize,
]
erase_and_pack = _base_.pack
optim_wrapper = dict(optimizer=dict(lr=2e-4))  # of a step on one GPU, see the config
default_hooks = dict(checkpoint=dict(save_best=None, max_keep_ckpts=2))
