# Kinetics-400 as tools/data/prepare.py writes it, or else, where that is there, as
# MMAction2 does.
_base_ = []  # MMEngine would read a config that imports, and has none, in another way

import os  # noqa: E402

k400_lists, k400_videos = 'data/k400/{}.txt', 'data/k400/videos'
mmaction2_lists = 'data/kinetics400/kinetics400_{}_list_videos.txt'
if not os.path.isfile(k400_lists.format('train')) and os.path.isfile(
    mmaction2_lists.format('train')
):
    k400_lists, k400_videos = mmaction2_lists, 'data/kinetics400/videos_{}'
k400_train, k400_val = (
    dict(
        ann_file=k400_lists.format(split),
        data_prefix=dict(video=k400_videos.format(split)),
    )
    for split in ('train', 'val')
)
del mmaction2_lists
