# motion_pretrain.py with masks that follow the change over time.
_base_ = 'motion_pretrain.py'

model = dict(
    sampler=dict(_delete_=True, type='FrameDifferenceSamplerHead', mask_ratio=0.9),
)
