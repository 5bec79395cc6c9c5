# Your own videos: every video file below one folder, no labels, no annotation file.
#   python tools/train.py configs/adamae_vitb_folder_pretrain.py \
#       --cfg-options train_dataloader.dataset.data_prefix.video=/path/to/videos
_base_ = [
    '_base_/models/adamae_vitb.py',
    '_base_/datasets/pretrain.py',
    '_base_/schedules/pretrain_800e.py',
    '_base_/default_runtime.py',
]

train_dataloader = dict(
    dataset=dict(type='VideoFolderDataset', data_prefix=dict(video='data/videos'))
)
