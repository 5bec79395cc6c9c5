"""A folder of which some videos have a label: the others are for pre-training."""

import json
import shutil

import pytest

from projects.adamae.datasets.preparers import folder, own_configs
from projects.adamae.datasets.preparers.collection import Collection, Sample
from projects.adamae.datasets.preparers.prepare import prepare
from projects.adamae.datasets.preparers.recommend import recommend
from tests.datasets.preparers.miniature import clip
from tests.helpers import CONFIGS


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    """12 videos: 6 in the table, of which one has no label; a copy of a test video."""
    root = tmp_path_factory.mktemp('half')
    (root / 'clips/.trash').mkdir(parents=True)
    for number in range(10):
        (root / f'clips/{number}.mp4').write_bytes(clip(number))
    shutil.copy(root / 'clips/5.mp4', root / 'clips/copy of 5.mp4')
    shutil.copy(root / 'clips/0.mp4', root / 'clips/.trash/0.mp4')
    (root / 'clips/broken.mp4').write_text('no video')
    rows = ['0,a,train', '1,b,train', '2,a,train', '3,b,val', '4,,train', '5,a,test']
    (root / 'labels.csv').write_text('\n'.join(['path,label,split', *rows, '6,,test']))
    return root


@pytest.fixture(scope='module')
def prepared(clips):
    collection = folder.read(clips / 'clips', clips / 'labels.csv')
    return clips / 'out', prepare(collection, clips / 'out')


def test_videos_without_a_label_are_for_pretraining(prepared):
    out, summary = prepared
    train = (out / 'train.txt').read_text()
    assert train == '0.mp4\t0\n1.mp4\t1\n2.mp4\t0\n'
    # Neither copies of test videos, nor videos of the test without an answer.
    more = ''.join(f'{number}.mp4\t-1\n' for number in (4, 7, 8, 9))
    assert (out / 'pretrain.txt').read_text() == train + more
    assert summary.facts['pretrain'] == {'videos': 7}
    assert 'pretrain.txt: 7 videos' in summary.gist()
    assert '| pretrain.txt | 7 |' in summary.page
    problems = summary.facts['problems']
    assert problems['unlisted'] == []
    assert {'4.mp4', '7.mp4', 'broken.mp4'} <= {*problems['unlabeled']}
    assert [name for name, _ in problems['unreadable']] == ['broken.mp4']
    assert 'copy of 5.mp4' in summary.facts['left_out']
    assert '7.mp4' not in summary.facts['left_out']
    assert json.loads((out / 'summary.json').read_text()) == summary.facts


def test_the_config_of_pretraining_reads_them(prepared, tmp_path, monkeypatch):
    out, summary = prepared
    monkeypatch.chdir(tmp_path)
    paths = own_configs.config_paths('half', 'configs')
    plan = recommend(summary.facts)
    own_configs.write_configs(plan, summary.facts, out, paths, CONFIGS / '_base_')
    assert 'the 7 videos' in paths['pretrain'].read_text()
    assert '/pretrain.txt' in paths['pretrain'].read_text()
    for kind in ('finetune', 'probe'):
        text = paths[kind].read_text()
        assert 'the 3 training videos' in text and 'pretrain.txt' not in text


def test_without_unlabeled_videos_there_is_no_such_list(clips, tmp_path):
    """Nor where an official annotation leaves videos out, or a table has no labels."""
    samples = [Sample('0.mp4', 'a'), Sample('1.mp4', 'b')]
    names = ['2.mp4', '3.mp4']
    for kind, classes, unlisted in (
        ('folder', ['a', 'b'], []),
        ('hmdb51', ['a', 'b'], names),
        ('folder', [], names),
    ):
        some = [s._replace(label=s.label if classes else None) for s in samples]
        collection = Collection(clips / 'clips', some, classes, unlisted=unlisted)
        out = tmp_path / f'{kind}{len(classes)}{len(unlisted)}'
        summary = prepare(collection, out, kind=kind)
        assert not (out / 'pretrain.txt').exists() and not summary.facts['pretrain']
        assert summary.facts['problems']['unlisted'] == unlisted


def test_who_is_in_a_group_of_the_test_is_not_pretrained_on(clips, tmp_path):
    samples = [
        Sample('0.mp4', 'a', 'train', 'ann'),
        Sample('1.mp4', 'b', 'test', 'bob'),
        Sample('2.mp4', None, None, 'ann'),
        Sample('3.mp4', None, None, 'bob'),
    ]
    prepare(Collection(clips / 'clips', samples, ['a', 'b']), tmp_path / 'out')
    lines = (tmp_path / 'out/pretrain.txt').read_text().splitlines()
    assert lines == ['0.mp4\t0', '2.mp4\t-1']
