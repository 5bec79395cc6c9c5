# A few thousand videos on one GPU: four clips of every video that is decoded, so that
# 800 epochs show each video 3200 times, as often as VideoMAE does on UCF101.
_base_ = '../adamae_vitb_folder_pretrain.py'

steps = _base_.train_pipeline
per_clip = dict(type='PerClip', transforms=steps[3:6])  # crop, resize, flip
train_pipeline = [
    steps[0],
    dict(steps[1], num_clips=4),
    steps[2],
    per_clip,
    *steps[6:],
]
train_dataloader = dict(batch_size=16, dataset=dict(pipeline=train_pipeline))
auto_scale_lr = dict(enable=True)
