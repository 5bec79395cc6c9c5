# What all datasets of videos share: the loader of training, and the steps by name.
# A dataset adds its files, and a pipeline where it needs another one.
# The loader of all recipes; decord's: 'DecordInit', 'DecordDecode' (docs/data.md).
init = dict(type='PyAVSkipInit')
decode = dict(type='PyAVSkipDecode')
resize = dict(type='Resize', scale=(224, 224), keep_ratio=False)
flip = dict(type='Flip', flip_ratio=0.5)
pack = [
    dict(type='FormatShape', input_format='NCTHW'),
    # Named where a batch makes trouble.
    dict(type='PackActionInputs', meta_keys=('filename', 'frame_dir')),
]

train_dataloader = dict(
    num_workers=10,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='TolerantVideoDataset'),
)
