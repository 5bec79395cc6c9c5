# Not in the paper. The encoder's activations are recomputed, or 32 clips would not fit.
_base_ = 'adamae_vitb_ssv2_pretrain.py'

model = dict(backbone=dict(embed_dims=1280, depth=32, num_heads=16, with_cp=True))
