# UCF101 as tools/data/prepare.py writes it, labeled; two samples of every clip that is
# decoded, 5 x 3 test views.
_base_ = 'finetune.py'

num_classes = 101
videos = dict(video='data/ucf101/videos')
train_dataloader = dict(
    collate_fn=dict(type='repeat_pseudo_collate'),
    dataset=dict(
        type='TolerantRepeatAugDataset',
        num_repeats=2,
        sample_once=True,
        ann_file='data/ucf101/train.txt',
        data_prefix=videos,
    ),
)
val_dataloader = dict(dataset=dict(ann_file='data/ucf101/val.txt', data_prefix=videos))
test_dataloader = val_dataloader
