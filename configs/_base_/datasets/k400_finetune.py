# Kinetics-400, labeled; 5 x 3 test views.
_base_ = ['finetune.py', 'k400_files.py']

train_dataloader = dict(dataset=_base_.k400_train)
val_dataloader = dict(dataset=_base_.k400_val)
test_dataloader = val_dataloader
