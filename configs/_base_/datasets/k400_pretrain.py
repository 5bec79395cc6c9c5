# Kinetics-400, no labels used.
_base_ = ['pretrain.py', 'k400_files.py']

train_dataloader = dict(dataset=_base_.k400_train)
