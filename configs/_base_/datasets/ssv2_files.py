# Something-Something v2 as tools/data/prepare.py writes it, or else, where that is
# there, as MMAction2 does.
_base_ = []  # MMEngine would read a config that imports, and has none, in another way

import os  # noqa: E402

ssv2_lists, ssv2_videos = 'data/ssv2/{}.txt', dict(video='data/ssv2/videos')
mmaction2_lists = 'data/sthv2/sthv2_{}_list_videos.txt'
if not os.path.isfile(ssv2_lists.format('train')) and os.path.isfile(
    mmaction2_lists.format('train')
):
    ssv2_lists, ssv2_videos = mmaction2_lists, dict(video='data/sthv2/videos')
ssv2_train = dict(ann_file=ssv2_lists.format('train'), data_prefix=ssv2_videos)
ssv2_val = dict(ann_file=ssv2_lists.format('val'), data_prefix=ssv2_videos)
del mmaction2_lists
