"""Names of classes in configs and checkpoints."""

import pytest
from mmaction.registry import DATASETS
from mmengine.config import Config

from projects.adamae.datasets import TolerantVideoDataset
from projects.adamae.datasets.class_names import (
    add_class_names,
    class_names,
    difference,
    known_names,
)
from projects.adamae.launch.class_checks import check_names


def test_a_list_a_file_or_the_type_of_the_dataset(tmp_path):
    (tmp_path / 'classes.txt').write_text('a b\nc, "d" \n走る\n', encoding='utf-8')
    file = dict(metainfo=dict(classes=str(tmp_path / 'classes.txt')))
    assert class_names(file, 'key') == ['a b', 'c, "d" ', '走る']
    assert class_names(dict(metainfo=dict(classes=('a', 1))), 'key') == ['a', '1']
    assert class_names(dict(type='VideoDataset'), 'key') is None

    class Named(TolerantVideoDataset):
        METAINFO = dict(classes=('a', 'b'))

    assert class_names(dict(type=Named), 'key') == ['a', 'b']
    # As MMEngine reads them.
    (tmp_path / 'list.txt').write_text('a.mp4 0')
    cfg = dict(type='VideoDataset', ann_file=str(tmp_path / 'list.txt'), pipeline=[])
    assert known_names(DATASETS.build(cfg | file).metainfo) == class_names(file, '')


def test_the_file_beside_a_list(tmp_path):
    def names(*parts, **model):
        loader = dict(dataset=dict(type='ConcatDataset', datasets=[*parts]))
        cfg = Config(dict(model=model, test_dataloader=loader))
        add_class_names(cfg)
        found = cfg.test_dataloader.dataset.datasets
        return [part.get('metainfo', {}).get('classes') for part in found]

    (tmp_path / 'classes.txt').write_text('a\nb\n')
    (tmp_path / 'sub').mkdir()
    file, head = str(tmp_path / 'classes.txt'), dict(cls_head=dict(num_classes=2))
    listed = dict(type='VideoDataset', ann_file=str(tmp_path / 'val.txt'))
    rooted = dict(type='VideoDataset', data_root=str(tmp_path), ann_file='val.txt')
    other = dict(type='VideoDataset', ann_file=str(tmp_path / 'sub/val.txt'))
    own = dict(listed, metainfo=dict(classes=['x', 'y']))
    assert names(listed, rooted, **head) == [file, file]
    assert names(listed) == [None]  # no classifier
    # Joined ones name the same classes, or none.
    assert names(listed, other, **head) == [None, None]
    assert names(own, listed, **head) == [['x', 'y'], None]
    assert names(dict(type='VideoFolderDataset'), **head) == [None]


@pytest.mark.parametrize('found', [None, {}, dict(classes='a'), dict(classes=[]), [1]])
def test_no_names(found):
    assert known_names(found) is None


def test_first_difference():
    assert difference('abc', 'abc') == ''
    assert difference('abc', 'ab') == '3 instead of 2'
    assert difference('abc', 'acb') == "number 1 is 'b' instead of 'c'"


def test_all_datasets_name_the_same():
    def loader(*lists):
        parts = [dict(metainfo=dict(classes=names)) for names in lists]
        return dict(dataset=dict(datasets=[*parts, dict(type='VideoDataset')]))

    cfg = Config(dict(train_dataloader=loader('ab'), val_dataloader=loader(['a', 'b'])))
    cfg.train_dataloader.dataset.datasets[0].metainfo.classes = ['a', 'b']
    check_names(cfg, ('train', 'val'), 2)
    cfg.val_dataloader = loader(['a', 'b'], ['b', 'a'])
    with pytest.raises(ValueError, match=r'1\.metainfo.*names of train_.*is .b. inste'):
        check_names(cfg, ('train', 'val'), 2)
    with pytest.raises(ValueError, match='expected 3 names, as model.cls_head.num_'):
        check_names(cfg, ('train', 'val'), 3)
