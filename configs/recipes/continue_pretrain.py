# Go on from released weights on videos of your own, converted as docs/checkpoints.md
# says. VideoMAE's have no token sampler: it begins anew. So does the schedule.
_base_ = '../adamae_vitb_folder_pretrain.py'

load_from = 'released.pth'
warmup_epochs = 20

train_cfg = dict(max_epochs=200)
warmup, cosine = _base_.param_scheduler
warmup.end = cosine.begin = warmup_epochs
param_scheduler = [warmup, cosine]
auto_scale_lr = dict(enable=True)
