# Videos of a second: 8 frames, every second one, span 15 frames instead of 61.
_base_ = '../adamae_vitb_folder_pretrain.py'

model = dict(backbone=dict(num_frames=8))
sample = dict(_base_.sample, clip_len=8, frame_interval=2)
train_pipeline = [_base_.init, sample, *_base_.train_pipeline[2:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
auto_scale_lr = dict(enable=True)
