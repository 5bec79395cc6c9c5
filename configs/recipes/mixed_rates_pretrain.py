# Videos of several frame rates: 7.5 frames of each second, which is every fourth of 30.
_base_ = '../adamae_vitb_folder_pretrain.py'

by_time = dict(type='SampleFramesByTime', clip_len=16, frames_per_second=7.5)
train_pipeline = [_base_.init, by_time, *_base_.train_pipeline[2:]]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
auto_scale_lr = dict(enable=True)
