# motion_pretrain.py with frame masks: one whole time step of eight stays visible.
_base_ = 'motion_pretrain.py'

model = dict(
    sampler=dict(_delete_=True, type='FrameSamplerHead', mask_ratio=0.875),
)
