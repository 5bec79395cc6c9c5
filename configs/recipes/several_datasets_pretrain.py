# Kinetics-400, Something-Something v2 and a folder of your own, whatever their sizes: a
# half, a quarter and a quarter of every epoch.
_base_ = [
    '../adamae_vitb_k400_pretrain.py',
    '../_base_/datasets/ssv2_files.py',
]

k400 = _base_.train_dataloader.dataset
own = dict(
    type='VideoFolderDataset',
    data_prefix=dict(video='data/videos'),
    pipeline=k400.pipeline,
)
# Its videos have 12 frames a second, and its classes a direction.
ssv2 = dict(
    type='TolerantVideoDataset',
    **_base_.ssv2_train,
    pipeline=[
        _base_.init,
        dict(_base_.sample, frame_interval=2),
        _base_.decode,
        _base_.multi_scale_crop,
        _base_.resize,
        *_base_.pack,
    ],
)
train_dataloader = dict(
    sampler=dict(
        _delete_=True,
        type='WeightedDatasetSampler',
        weights=[2, 1, 1],
        num_videos=240000,
    ),
    dataset=dict(_delete_=True, type='ConcatDataset', datasets=[k400, ssv2, own]),
)
auto_scale_lr = dict(enable=True)
