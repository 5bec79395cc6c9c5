import re

import pytest
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.logging import MMLogger

from projects.adamae import LabeledVideoFolderDataset, launch
from projects.adamae.datasets import from_config
from projects.adamae.datasets.unreadable import UnreadableVideos
from projects.adamae.launch.class_checks import check_classes, check_labels
from projects.adamae.launch.configs import load_config
from projects.adamae.video.error import VideoError
from tests.helpers import CONFIGS, ROOT, load_tool, write_videos

PIPELINE = [
    dict(type='PyAVSkipInit'),
    dict(type='SampleFrames', clip_len=4, frame_interval=1, num_clips=1),
    dict(type='PyAVSkipDecode'),
]


@pytest.fixture
def videos(tmp_path):
    """Two classes with two videos each, one of them further down, and other files."""
    folder = tmp_path / 'videos'
    write_videos(folder / 'ju mp', count=2, frames=8)
    write_videos(folder / 'über/2026', count=2, frames=8)
    (folder / 'notes.txt').write_text('no video')
    (folder / '.cache').mkdir()
    return folder


def dataset(folder, **kwargs):
    return LabeledVideoFolderDataset(dict(video=str(folder)), PIPELINE, **kwargs)


def test_labels_are_the_folders_in_the_order_of_their_names(videos):
    built = dataset(videos)
    assert built.metainfo['classes'] == ['ju mp', 'über']
    infos = [built.get_data_info(i) for i in range(len(built))]
    assert [info['label'] for info in infos] == [0, 0, 1, 1]
    assert infos[3]['filename'] == str(videos / 'über/2026/1.mp4')
    assert len(built[3]['imgs']) == 4 and built[3]['label'] == 1


def test_given_classes_number_them_and_empty_ones_are_named(videos, tmp_path):
    names = tmp_path / 'classes.txt'
    names.write_text('über\nrun\nju mp\n')
    told = []
    logger = MMLogger.get_current_instance()
    logger.addFilter(lambda record: told.append(record.getMessage()) or True)
    try:
        built = dataset(videos, metainfo=dict(classes=str(names)))
    finally:
        logger.filters.pop()
    assert [built.get_data_info(i)['label'] for i in range(4)] == [2, 2, 0, 0]
    assert re.search('1 of 3 classes have no video in .*: run', told[-1])
    (videos / 'swim').mkdir()
    assert dataset(videos).metainfo['classes'] == ['ju mp', 'swim', 'über']


@pytest.mark.parametrize(
    ('classes', 'kind', 'message'),
    [
        (['über'], ValueError, '2 of 4 .* folders that metainfo.classes lacks: ju mp'),
        (['über', 'ju mp', 'über'], ValueError, 'every class once, got über several'),
        ('no.txt', FileNotFoundError, 'found none at .*/no.txt'),
    ],
)
def test_classes_that_do_not_fit(videos, classes, kind, message):
    with pytest.raises(kind, match=message):
        dataset(videos, metainfo=dict(classes=classes))


def test_video_outside_of_all_classes(videos):
    write_videos(videos, count=1, frames=2)
    with pytest.raises(ValueError, match='1 of 5 .* in no folder of a class .*0.mp4'):
        dataset(videos)


def test_unreadable_video_is_replaced_in_training_and_wrong_in_a_test(videos):
    (videos / 'ju mp/0.mp4').write_bytes(b'no video')
    trained = dataset(videos)
    assert trained.prepare_data(0) is None and len(trained[0]['imgs']) == 4
    tested = dataset(videos, test_mode=True)
    with pytest.raises(VideoError, match='0.mp4'):
        tested[0]


def config(videos, classes=2, **changes):
    part = dict(
        type='LabeledVideoFolderDataset',
        data_prefix=dict(video=str(videos)),
        pipeline=PIPELINE,
    )
    loaders = {f'{split}_dataloader': dict(dataset=part) for split in ('train', 'val')}
    loaders['val_dataloader'] = dict(dataset=part | changes)
    return Config(dict(model=dict(cls_head=dict(num_classes=classes)), **loaders))


def test_checked_before_a_run(videos, tmp_path):
    splits = ('train', 'val')
    launch.check_data(config(videos), splits, UnreadableVideos)
    check_classes(config(videos), splits)
    check_labels(config(videos), 'val')
    with pytest.raises(ValueError, match='has 2 classes .*num_classes=3; set'):
        check_classes(config(videos, 3), splits)
    # A folder for validation that lacks a class, and has another one.
    other = tmp_path / 'val'
    write_videos(other / 'ant', count=1, frames=2)
    write_videos(other / 'ju mp', count=1, frames=2)
    prefix = dict(video=str(other))
    message = "val_dataloader.dataset: .* number 0 is 'ant' instead of 'ju mp'; give"
    with pytest.raises(ValueError, match=message):
        check_classes(config(videos, data_prefix=prefix), splits)
    write_videos(other, count=1, frames=2)
    message = 'val_dataloader.dataset.data_prefix.video: .* no folder of a class'
    with pytest.raises(ValueError, match=message):
        check_classes(config(videos, data_prefix=prefix), splits)


def test_tools_that_compare_labels_read_it(videos):
    built = from_config.build_dataset(config(videos), 'val', (4, 32, 32))
    names, labels = from_config.names_and_labels(built)
    assert labels.tolist() == [0, 0, 1, 1] and names[0].endswith('ju mp/0.mp4')


def test_list_and_folder_at_once(videos):
    with pytest.raises(ValueError, match="expected no ann_file.* got 'list.txt'; set"):
        dataset(videos, ann_file='list.txt')


def test_documented_config(videos, tmp_path):
    """Over a recipe with lists."""
    page = (
        (ROOT / 'docs/datasets.md').read_text().split('## A dataset of your own\n')[1]
    )
    (code,) = re.findall('```python\n(.*?)```', page.split('\n## ')[0], re.S)
    for name in ('data/mine/train', 'data/mine/val'):
        code = code.replace(f"'{name}'", repr(str(videos)))
    code = code.replace("_base_ = '", f"_base_ = '{CONFIGS}/").replace('= 51', '= 2')
    (tmp_path / 'mine.py').write_text(code)
    cfg = load_config(load_tool('train').parse_args([str(tmp_path / 'mine.py')]))
    assert cfg.model.cls_head.num_classes == 2
    for splits in (('train', 'val'), ('test',)):
        launch.check_data(cfg, splits, UnreadableVideos)
        check_classes(cfg, splits)
    assert len(DATASETS.build(cfg.test_dataloader.dataset)) == 4
