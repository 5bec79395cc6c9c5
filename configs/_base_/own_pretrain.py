# What tools/new_dataset.py writes over: AdaMAE on a data set of one's own, with a rate
# that follows the batch (1.5e-4 at 256 clips).
_base_ = [
    'models/adamae_vitb.py',
    'datasets/pretrain.py',
    'schedules/pretrain_800e.py',
    'default_runtime.py',
]

train_dataloader = dict(num_workers=4)  # tools/plan.py says how many are needed
auto_scale_lr = dict(enable=True)
