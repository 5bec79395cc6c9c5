# Long videos, cut by `tools/data/prepare.py segments ... --out data/segments`.
_base_ = '../adamae_vitb_k400_pretrain.py'

train_dataloader = dict(
    dataset=dict(
        ann_file='data/segments/train.txt',
        data_prefix=dict(video='data/segments/videos'),
    )
)
auto_scale_lr = dict(enable=True)
