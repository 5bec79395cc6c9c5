# What tools/new_dataset.py writes over: fine-tuning on a data set of one's own, with a
# rate that follows the batch (1e-3 at 256 clips).
_base_ = [
    'models/vit_finetune.py',
    'datasets/finetune.py',
    'schedules/finetune_100e.py',
]

# A flip comes between the two.
augment = [
    _base_.decode,
    dict(
        _base_.for_all_frames,
        transforms=[_base_.swap, _base_.rand_augment, _base_.swap],
    ),
    _base_.random_resized_crop,
    _base_.resize,
]
# Frames of full size take long to augment; Kinetics is published with a short side of
# 320 or less (docs/datasets.md).
shrink = dict(type='Resize', scale=(-1, 320))
shrink_and_augment = [augment[0], shrink, *augment[1:]]
erase_and_pack = [
    dict(_base_.for_all_frames, transforms=[_base_.random_erasing]),
    *_base_.pack,
]
train_dataloader = dict(num_workers=4)  # tools/plan.py says how many are needed
val_dataloader = dict(num_workers=4)
test_dataloader = dict(num_workers=4)
auto_scale_lr = dict(enable=True)
