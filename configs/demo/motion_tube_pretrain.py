# motion_pretrain.py with tube masks: the same positions at every time step.
_base_ = 'motion_pretrain.py'

model = dict(
    sampler=dict(_delete_=True, type='TubeSamplerHead', mask_ratio=0.9),
)
