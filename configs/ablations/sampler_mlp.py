_base_ = '../adamae_vitb_ssv2_pretrain.py'

# No transformer block: Linear(D, D), Linear(D, 1).
model = dict(sampler=dict(depth=0))
