# What tools/new_dataset.py writes over: a linear probe on a data set of one's own, with
# a rate that follows the batch (0.1 at 256 clips).
_base_ = [
    'models/vitb_linear.py',
    'datasets/finetune.py',
    'schedules/linear_90e.py',
]

augment = [_base_.decode, _base_.random_resized_crop, _base_.resize]
train_dataloader = dict(num_workers=4)  # tools/plan.py says how many are needed
val_dataloader = dict(num_workers=4)
test_dataloader = dict(num_workers=4)
auto_scale_lr = dict(enable=True)
