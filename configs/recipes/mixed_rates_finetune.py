# Fine-tune and test at the rate of mixed_rates_pretrain.py.
_base_ = '../adamae_vitb_k400_finetune.py'

by_time = dict(type='SampleFramesByTime', clip_len=16, frames_per_second=7.5)
train_pipeline = [_base_.init, by_time, *_base_.train_pipeline[2:]]
val_pipeline = [_base_.init, dict(by_time, test_mode=True), *_base_.center_view]
test_by_time = dict(by_time, num_clips=5, test_mode=True)
test_pipeline = [_base_.init, test_by_time, *_base_.three_views]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
auto_scale_lr = dict(enable=True)
