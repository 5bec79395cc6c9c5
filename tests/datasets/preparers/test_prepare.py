"""A folder of videos becomes lists that train, and a page that names every defect."""

import json
import sys
from types import SimpleNamespace

import pytest
from mmaction.registry import DATASETS
from mmengine.registry import init_default_scope

from projects.adamae.datasets.preparers import folder, resumable, survey
from projects.adamae.datasets.preparers.collection import Collection, Sample
from projects.adamae.datasets.preparers.prepare import KINDS, link_videos, prepare
from projects.adamae.datasets.preparers.summary import find_misspelled
from tests.datasets.preparers.miniature import clip, write_miniature
from tests.helpers import load_tool, run_tool


@pytest.fixture(scope='module')
def miniature(tmp_path_factory):
    root = tmp_path_factory.mktemp('miniature')
    defects = write_miniature(root / 'videos')
    collection = folder.read(root / 'videos', labels_from_folders=True)
    summary = prepare(collection, root / 'out', workers=2)
    return root, collection, summary, defects


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def lines_of(out, split):
    return (out / f'{split}.txt').read_text().splitlines()


def test_every_defect_is_found_and_none_is_invented(miniature):
    root, _, summary, defects = miniature
    found = dict(summary.facts['problems'])
    for kind in ('unreadable', 'truncated'):
        found[kind] = [name for name, _ in found[kind]]
    for split in ('train', 'val', 'test'):
        assert found.pop(f'classes_without_{split}') == []
    assert found == defects
    page = (root / 'out/summary.md').read_text()
    assert page == summary.page
    for name in ('walk/broken.mp4', 'walk/cut.mkv', r'walk/a\tb.mp4', r'walk/\udcff'):
        assert name in page


def test_the_facts_are_those_of_the_files(miniature):
    root, _, summary, _ = miniature
    facts = json.loads((root / 'out/summary.json').read_text())
    assert facts == summary.facts
    assert facts['classes'] == ['nothing', 'räum auf', 'walk']
    assert facts['num_classes'] == 3
    assert facts['rates'] == {'12': 34, '25': 1}
    assert facts['sizes'] == {'64x64': 33, '64x32': 1, '96x64': 1}
    assert facts['codecs'] == {'h264': 34, 'mpeg4': 1}
    assert facts['frames']['min'] == facts['frames']['p95'] == 12
    assert facts['seconds']['max'] == 2.4
    assert facts['variable_rate'] == 0


def test_the_lists_hold_every_good_video_once(miniature):
    root, collection, summary, defects = miniature
    lists = {split: lines_of(root / 'out', split) for split in summary.facts['splits']}
    lines = sum(lists.values(), [])
    out = {*defects['unreadable'], *defects['truncated'], *defects['unlistable']}
    assert sorted(line.split('\t')[0] for line in lines) == sorted(
        s.name for s in collection.samples if s.label and s.name not in out
    )
    assert all(line.endswith('\t2') == line.startswith('walk/') for line in lines)
    assert {split: len(found) for split, found in lists.items()} == {
        split: content['videos'] for split, content in summary.facts['splits'].items()
    }
    for found in lists.values():  # both classes, and both copies or none
        assert len({line[-1] for line in found}) == 2
        names = {line.split('\t')[0] for line in found}
        assert len(names & {*defects['duplicates'][0]}) in (0, 2)


def test_a_dataset_reads_the_lists_and_the_names(miniature):
    root = miniature[0]
    init_default_scope('mmaction')
    dataset = DATASETS.build(
        dict(
            type='TolerantVideoDataset',
            ann_file=str(root / 'out/train.txt'),
            data_prefix=dict(video=str(root / 'videos')),
            metainfo=dict(classes=str(root / 'out/classes.txt')),
            pipeline=[
                dict(type='PyAVSkipInit'),
                dict(type='SampleFrames', clip_len=4),
                dict(type='PyAVSkipDecode'),
            ],
        )
    )
    assert dataset.metainfo['classes'] == ['nothing', 'räum auf', 'walk']
    for i in range(len(dataset)):
        name = dataset.get_data_info(i)['filename']
        assert dataset[i]['filename'] == name  # and not another in its place


def test_again_it_gives_the_same_bytes_and_decodes_nothing(miniature, monkeypatch):
    root, collection, _, _ = miniature
    before = files_of(root / 'out')
    monkeypatch.setattr(resumable, 'run_in_processes', None)
    prepare(collection, root / 'out')
    assert files_of(root / 'out') == before


def test_a_dry_run_writes_nothing(miniature, capsys):
    root = miniature[0]
    arguments = '--videos', root / 'videos', '--labels-from-folders', '--dry-run'
    run_tool('data/prepare', 'folder', *arguments, '--out', root / 'other')
    assert not (root / 'other').exists()
    assert miniature[2].page in capsys.readouterr().out


def test_lists_that_are_others_stay(miniature, tmp_path):
    _, collection, _, _ = miniature
    some = Collection(collection.root, collection.samples[1:6], collection.classes)
    (tmp_path / 'train.txt').write_text('mine\n')
    with pytest.raises(FileExistsError, match='found train.txt of something else'):
        prepare(some, tmp_path)
    prepare(some, tmp_path, overwrite=True)
    with pytest.raises(FileExistsError, match='seed 0, now 1'):
        prepare(some, tmp_path, seed=1)
    edited = (tmp_path / 'train.txt').read_text() + 'more.mp4\t0\n'
    (tmp_path / 'train.txt').write_text(edited)
    with pytest.raises(FileExistsError, match=r'train\.txt would become others'):
        prepare(some, tmp_path)
    assert (tmp_path / 'train.txt').read_text() == edited
    (tmp_path / 'test.txt').write_text('old.mp4\t0\n')
    prepare(some, tmp_path, split=(1, 0, 0), overwrite=True)
    assert len(lines_of(tmp_path, 'train')) == 5
    assert not (tmp_path / 'test.txt').exists()


@pytest.fixture
def official(tmp_path):
    root = tmp_path / 'videos'
    root.mkdir()
    for number in range(3):
        (root / f'{number}.mp4').write_bytes(clip(number))
    (root / 'copy.mp4').write_bytes(clip(0))
    for name in ('bad train.mp4', 'bad val.mp4', 'bad test.mp4'):
        (root / name).write_text('no video')
    samples = [
        Sample(name, label, split)
        for name, label, split in (
            ('0.mp4', 'a', 'train'),
            ('1.mp4', 'b', 'val'),
            ('2.mp4', 'a', 'test'),
            ('copy.mp4', 'b', 'test'),
            ('bad train.mp4', 'b', 'train'),
            ('bad val.mp4', 'b', 'val'),
            ('bad test.mp4', 'a', 'test'),
        )
    ]
    return Collection(str(root), samples, ['a', 'b', 'c'], missing=['gone.mp4'])


def test_the_videos_are_linked_beside_the_lists(official, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = 'folder', '--videos', 'videos', '--out', 'data/mine'
    run_tool('data/prepare', *arguments, '--dry-run')
    assert not (tmp_path / 'data').exists()
    link = tmp_path / 'data/mine/videos'
    for _ in range(2):
        run_tool('data/prepare', *arguments)
        assert link.is_symlink() and (link / '0.mp4').is_file()
    assert link_videos(link, link.parent)  # they are there already
    (tmp_path / 'others').mkdir()
    assert link_videos('others', link.parent) and link.samefile('others')
    assert link_videos('.', tmp_path / 'data') and folder.read('.').samples
    link.unlink()
    link.mkdir()
    assert not link_videos('videos', link.parent)  # nobody's files are replaced


def test_no_test_video_of_others_is_left_out(official, tmp_path):
    summary = prepare(official, tmp_path / 'out', kind='kinetics')
    out = tmp_path / 'out'
    assert lines_of(out, 'train') == ['0.mp4\t0']
    assert lines_of(out, 'val') == ['1.mp4\t1', 'bad val.mp4\t1']
    assert lines_of(out, 'test') == ['2.mp4\t0', 'copy.mp4\t1', 'bad test.mp4\t0']
    assert summary.facts['kept_unreadable'] == ['bad test.mp4', 'bad val.mp4']
    assert summary.facts['left_out'] == ['bad train.mp4']
    problems = summary.facts['problems']
    assert problems['missing'] == ['gone.mp4']
    assert problems['empty_classes'] == ['c']
    assert problems['classes_without_train'] == ['b']
    copies = [['0.mp4', 'copy.mp4']]
    assert problems['duplicates_across_splits'] == copies
    assert problems['duplicates_across_classes'] == copies
    assert 'but for 2 that the annotations have in val or test' in summary.page
    with pytest.raises(ValueError, match='the annotations have one for every video'):
        prepare(official, out, split=(1, 0, 0))


def test_segments_become_files_and_those_of_a_film_stay_together(
    official, tmp_path, monkeypatch
):
    """The cutting itself is tested with its module."""
    given = []

    def cut(collection, out, workers):
        given.append((collection, out, workers))
        names = 'copy.mp4', '2.mp4'
        samples = [
            Sample(name, s.label, s.split, s.group)
            for name, s in zip(names, collection.samples, strict=True)
        ]
        return Collection(collection.root, samples, collection.classes)

    module = 'projects.adamae.datasets.preparers.segments'
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(cut=cut))
    films = [
        Sample('0.mp4', 'a', start=0.0, end=1.0),
        Sample('0.mp4', 'a', start=1.0, end=2.0),
    ]
    collection = Collection(official.root, films, ['a'])
    prepare(collection, tmp_path / 'out', dry_run=True)
    assert not given
    prepare(collection, tmp_path / 'out', split=(0.5, 0.5, 0), workers=2)
    ((cut_from, out, workers),) = given
    assert [s.group for s in cut_from.samples] == ['0.mp4', '0.mp4']
    assert (out, workers) == (tmp_path / 'out', 2)
    lists = [p for p in ('train', 'val') if (out / f'{p}.txt').exists()]
    assert len(lists) == 1
    assert lines_of(out, lists[0]) == ['copy.mp4\t0', '2.mp4\t0']


def test_labels_that_make_no_sense_are_told(official, tmp_path):
    first, *others = official.samples
    samples = [first._replace(label='d'), *others]
    with pytest.raises(ValueError, match="among the 3 classes, got 'd'"):
        prepare(Collection(official.root, samples, official.classes), tmp_path)
    for classes in (['a', 'b', 'b'], ['a', 'b', 'b\nc'], ['a', 'b', ' ']):
        with pytest.raises(ValueError, match='expected .*classes'):
            prepare(Collection(official.root, official.samples, classes), tmp_path)
    assert not (tmp_path / 'out').exists()


def test_without_labels_all_are_for_training(official, tmp_path):
    collection = folder.read(official.root)
    summary = prepare(collection, tmp_path / 'out')
    names = ('0.mp4', '1.mp4', '2.mp4', 'copy.mp4')
    assert lines_of(tmp_path / 'out', 'train') == [f'{name}\t-1' for name in names]
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'progress.jsonl',
        'summary.json',
        'summary.md',
        'train.txt',
    ]
    assert summary.facts['num_classes'] == 0
    assert summary.facts['problems']['unlabeled'] == []


def test_a_quick_look_is_not_taken_for_a_full_one(official, tmp_path, monkeypatch):
    files = [f'{official.root}/{name}.mp4' for name in ('0', '1')]
    args = files, tmp_path / 'progress'
    quick = survey.survey_videos(*args)
    full = survey.survey_videos(*args, check_all=True)
    assert full == quick
    lines = (tmp_path / 'progress').read_text().splitlines()
    modes = [json.loads(json.loads(line)[-1])['mode'][1] for line in lines if line]
    assert modes == ['quick', 'quick', 'all', 'all']
    monkeypatch.setattr(resumable, 'run_in_processes', None)
    for check_all in (True, False):
        assert survey.survey_videos(*args, check_all=check_all) == full


def test_a_folder_without_a_readable_video_is_an_error(tmp_path):
    (tmp_path / 'a.mp4').write_text('no video')
    with pytest.raises(ValueError, match='none of the 1 videos'):
        prepare(folder.read(tmp_path), tmp_path / 'out')


@pytest.mark.parametrize(
    'arguments, message',
    [
        (('folder', '--videos', 'none'), 'videos: expected a folder of videos'),
        (('folder', '--videos', 'v', '--labels', 'none.csv'), 'found none at'),
        (('folder', '--videos', 'v', '--split', '1', '1', '0'), 'that add up to 1'),
        (('folder', '--videos', 'v', '--time-limit', '0'), 'time_limit: expected'),
    ],
)
def test_errors_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    (tmp_path / 'v').mkdir()
    (tmp_path / 'v/a.mp4').write_bytes(clip(0))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run_tool('data/prepare', *arguments, '--out', 'out')
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message in error and error.count('\n') == 1


def test_the_tool_knows_all_kinds():
    assert load_tool('data/prepare').KINDS == tuple(KINDS)


def test_names_of_classes_that_may_be_misspelled():
    videos = {'gets larger': 15, 'gets lager': 1, 'Jumping': 9, 'jumping ': 8}
    videos |= {'Dumping': 9, 'take 1': 9, 'take 2': 1, 'cat': 9, 'cut': 1}
    assert find_misspelled(videos) == [
        ['gets lager', 'gets larger'],
        ['jumping ', 'Jumping'],
    ]


def test_a_misspelled_label_is_named_at_once(tmp_path):
    names = [f'{i}.mp4' for i in range(7)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(clip(number))
    samples = [Sample(name, 'falling') for name in names[1:]]
    collection = Collection(
        str(tmp_path), [Sample(names[0], 'faling'), *samples], ['faling', 'falling']
    )
    summary = prepare(collection, tmp_path / 'out')
    assert "'faling': 'falling'?" in summary.gist()
    assert '`faling`, `falling`' in summary.page
