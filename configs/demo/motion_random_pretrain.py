# motion_pretrain.py with random masks in place of learned ones.
_base_ = 'motion_pretrain.py'

model = dict(
    sampler=dict(_delete_=True, type='RandomSamplerHead', mask_ratio=0.9),
)
