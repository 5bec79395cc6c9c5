"""The data that a config names, compared with the disk."""

import pytest
from mmengine.config import Config

from projects.adamae import launch
from projects.adamae.launch.class_checks import check_classes


def data_config(root, split='train', **changes):
    dataset = dict(
        type='VideoDataset',
        ann_file='list.txt',
        data_root=str(root),
        data_prefix=dict(video='videos'),
        pipeline=[],
    )
    return Config({f'{split}_dataloader': dict(dataset=dataset | changes)})


def test_only_what_is_used_is_checked(toy):
    cfg = data_config(toy.parent, 'test', ann_file='no')
    launch.check_data(cfg, ('train', 'val'))
    with pytest.raises(FileNotFoundError, match='test_dataloader.dataset.ann_file'):
        launch.check_data(cfg, ('test',))


FOLDER = dict(type='VideoFolderDataset', ann_file=None, data_prefix=None)
POSES = dict(type='PoseDataset', data_prefix={})
EXPECTED = r"ann_file: line {} of \S+: expected 'VIDEO LABEL', .*, got '{}'; fix it"


@pytest.mark.parametrize(
    ('text', 'changes', 'message'),
    [
        ('0.mp4 0', {}, None),
        ('0.mp4 0', dict(data_root='s3://bucket'), None),
        ('0.mp4 0', dict(ann_file='https://host/list.txt'), None),
        ('0.mp4 0', dict(data_prefix=dict(video='s3://bucket/videos')), None),
        ('videos/0.mp4 0', dict(data_prefix=dict(video='')), None),
        ('videos/0.mp4 0', dict(data_prefix=dict(video=''), data_root=''), None),
        (
            '0.mp4 0',
            dict(ann_file='nowhere.txt'),
            r'train_dataloader\.dataset\.ann_file: annotation file not found: '
            r'\S+nowhere\.txt; .* --cfg-options \S+dataset\.ann_file=PATH',
        ),
        (
            '0.mp4 0',
            dict(data_prefix=dict(video='nowhere')),
            r'dataset\.data_prefix\.video: folder not found: \S+nowhere',
        ),
        ('', dict(FOLDER, data_root='/no'), 'data_root: folder not found: /no;'),
        ('', {}, r'ann_file: \S+a\.txt is empty'),
        ('\n\n', {}, r'ann_file: \S+a\.txt is empty'),
        ('0.mp4 0\nmy video.mp4 1', {}, EXPECTED.format(2, 'my video.mp4 1')),
        ('0.mp4 jump', {}, EXPECTED.format(1, '0.mp4 jump')),
        ('0.mp4 0 1', {}, EXPECTED.format(1, '0.mp4 0 1')),
        ('0.mp4 0 1', dict(multi_class=True), None),
        ('0.mp4,0', dict(delimiter=','), None),
        (
            '0.mp4 0\n9.mp4 1',
            {},
            r'data_prefix\.video: 1 of 2 videos of \S+a\.txt .* in line 2: \S+9\.mp4',
        ),
        # Lines of other datasets are not checked.
        ('\x80\x02', POSES, None),
        ('', POSES, 'a.txt is empty'),
    ],
)
def test_files_and_lines(toy, monkeypatch, text, changes, message):
    monkeypatch.chdir(toy.parent)
    (toy.parent / 'a.txt').write_text(text, encoding='latin-1')
    cfg = data_config(toy.parent, **dict(ann_file='a.txt') | changes)
    if message is None:
        launch.check_data(cfg, ('train', 'val'))
    else:
        with pytest.raises((FileNotFoundError, ValueError), match=message):
            launch.check_data(cfg, ('train',))


@pytest.mark.parametrize('label', ['3', '-1', '0 3', ''])
def test_labels_are_classes(toy, label):
    lines = ['0.mp4 0', '1.mp4 2', f'2.mp4 {label}'.strip()]
    (toy.parent / 'labels.txt').write_text('\n'.join(lines))
    cfg = data_config(toy.parent, ann_file='labels.txt')
    cfg.model = dict(cls_head=dict(num_classes=3))
    message = (
        rf'train_dataloader\.dataset\.ann_file: line 3 of \S+: .* from 0 to 2, as '
        rf'model\.cls_head\.num_classes=3 says, got {label or "none"};'
    )
    with pytest.raises(ValueError, match=message):
        check_classes(cfg, ('train', 'val'))
    check_classes(cfg, ('val',))
    cfg.model.pop('cls_head')
    check_classes(cfg, ('train',))


def test_wrapped_datasets_are_found(toy):
    inner = data_config(toy.parent).train_dataloader.dataset
    broken = {**inner, 'ann_file': 'nowhere.txt'}
    concat = dict(type='ConcatDataset', datasets=[inner, broken])
    repeat = dict(type='RepeatDataset', times=2, dataset=concat)
    cfg = Config(dict(train_dataloader=dict(dataset=repeat)))
    where = r'^train_dataloader\.dataset\.dataset\.datasets\.1\.ann_file: '
    with pytest.raises(FileNotFoundError, match=where):
        launch.check_data(cfg, ('train',))
