# Your own videos: every video file below one folder, no labels, no annotation file.
#   python tools/train.py configs/adamae_vitb_folder_pretrain.py \
#       --cfg-options train_dataloader.dataset.data_prefix.video=/path/to/videos
_base_ = 'adamae_vitb_k400_pretrain.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='VideoFolderDataset',
        data_prefix=dict(video='data/videos'),
        pipeline=_base_.train_pipeline,
    )
)
