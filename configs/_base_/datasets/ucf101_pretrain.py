# UCF101 as tools/data/prepare.py writes it, no labels used.
_base_ = 'pretrain.py'

train_dataloader = dict(
    batch_size=24,
    dataset=dict(
        ann_file='data/ucf101/train.txt', data_prefix=dict(video='data/ucf101/videos')
    ),
)
