"""Labels of any folder: from its sub-folders, or from a table of a stranger."""

import unicodedata

import pytest

from projects.adamae.datasets.preparers.collection import Sample
from projects.adamae.datasets.preparers.folder import read

NAMES = 'a b.mp4', ' lead.mp4', 'deep/x,y.MOV', 'deep/é.webm', 'two.mp4', 'deep/two.mp4'


@pytest.fixture
def videos(tmp_path):
    for name in NAMES:
        path = tmp_path / 'videos' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / 'videos'


def table(videos, content, name='labels.csv'):
    path = videos.parent / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(videos, path)


def labels(collection):
    return {sample.name: sample.label for sample in collection.samples}


@pytest.mark.parametrize(
    'content',
    [
        'path,label\na b.mp4,run\n"deep/x,y.MOV",jump\n',
        'Video Name;Class\r\na b.mp4;run\r\ndeep/x,y.MOV;jump\r\n',
        'class\tfile_name\trater\nrun\ta b.mp4\t1\njump\tdeep/x,y.MOV\t2\n',
        '\ufeffFile;Category\na b.mp4; run \n deep\\x,y.MOV;jump\n\n',
        'a b.mp4,run\n"deep/x,y.MOV",jump\n',
        'jump|deep/x,y.MOV\nrun|a b.mp4\n',
        'deep/x,y.MOV jump\na b.mp4 run\n',
        'video,action\na b,run\n"x,y",jump\n',
        'Video file;Label;\r\na b.mp4;run;\r\ndeep/x,y.MOV;jump;\r\n',
        'video,action\nvideos/a b.mp4,run\n"./deep/x,y.MOV",jump\n',
        'path,label\na b.mp4,run\na b.mp4,run\n"deep/x,y.MOV",jump\n',
        'path,label\n"a b.mp4","run"\n"deep/x,y.MOV","jump"'.encode('utf-16'),
    ],
)
def test_tables_of_strangers(videos, content):
    collection = table(videos, content)
    assert labels(collection) == {'a b.mp4': 'run', 'deep/x,y.MOV': 'jump'}
    assert collection.classes == ['jump', 'run']
    assert collection.missing == []
    twice = isinstance(content, str) and content.count('a b.mp4') > 1
    assert collection.repeated == ['a b.mp4'] * twice
    assert collection.unlisted == sorted({*NAMES} - {'a b.mp4', 'deep/x,y.MOV'})


def test_all_columns(videos):
    collection = table(
        videos,
        'Subject,START,end,subset,video_id,label\n'
        f'p1,"1,5",4,Validation,{videos / "deep/é"},10\n,,,,a b.mp4,9\n',
    )
    assert collection.samples == [
        Sample('a b.mp4', '9'),
        Sample('deep/é.webm', '10', 'val', 'p1', 1.5, 4.0),
    ]
    assert collection.classes == ['9', '10']  # as numbers


def test_a_table_without_labels(videos):
    for content in ('file\ndeep/x,y.MOV\na b.mp4\n', 'file\n"deep/x,y.MOV"\na b\n'):
        collection = table(videos, content)
        assert labels(collection) == {'a b.mp4': None, 'deep/x,y.MOV': None}
        assert collection.classes == []


def test_spellings_of_unicode(videos):
    spelled = unicodedata.normalize('NFD', 'path,label\ndeep/é.webm,é\na b.mp4,')
    collection = table(videos, spelled)
    assert labels(collection) == {'deep/é.webm': 'é', 'a b.mp4': None}
    assert collection.classes == ['é']


def test_a_leading_blank_is_part_of_a_name(videos):
    assert labels(table(videos, 'path,label\n lead.mp4,x\n')) == {' lead.mp4': 'x'}


def test_missing_files_are_listed_and_too_many_are_an_error(videos):
    content = 'path,label\na b.mp4,x\ntwo.mp4,x\ngone.mp4,y\n'
    collection = table(videos, content)
    assert collection.missing == ['gone.mp4']
    assert collection.classes == ['x', 'y']
    with pytest.raises(FileNotFoundError, match='3 of the 5 videos .* line 4 of'):
        table(videos, content + 'lost.mp4,x\nno.mp4,x\n')


@pytest.mark.parametrize(
    'content, message',
    [
        ('path,label\na b.mp4,x\na b.mp4,y\n', r'line 2 of .* and line 3 of .* label'),
        ('path,label\na b.mp4,x\na b,y\n', 'contradict'),
        ('path,split\ntwo.mp4,train\ntwo.mp4,test\n', "split 'train', and 'test'"),
        ('path,label\nTwo,x\n', 'Two'),
        ('path,label,split\na b.mp4,x,7th\n', "train, val or test as split, got '7th'"),
        ('path,label,start\na b.mp4,x,soon\n', "seconds as start, got 'soon'"),
        ('path,label\na b.mp4\n', 'line 2 of .*at least 2 fields'),
        ('path,label\n,x\n', 'line 2 of .*name of a video'),
        ('path,label\n', 'a video in each line'),
        (' \n', 'an empty file'),
        ('label,id_of_it\nx,a b.mp4\n', 'first line that names the columns'),
        ('a b.mp4,x,y\n', 'names the 3 columns'),
        ('Video;What happens;\na b.mp4;x;\n', "column label, .* got 'What happens'"),
        ('[{"id": "1"}]', 'got JSON; .* the kind ssv2 instead of folder'),
        ('label,youtube_id\nx,a b\n', 'got .label.*: use the kind kinetics'),
        (b'PK\3\4\0\0', 'no text; save a spreadsheet as CSV'),
        ('path,label\na b.mp4,ä\n'.encode('latin-1'), 'line 2: expected text in UTF-8'),
    ],
)
def test_what_is_wrong_is_told_with_its_line(videos, content, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        table(videos, content)
    assert '\n' not in str(error.value)


def test_a_name_that_may_be_two_videos(videos):
    (videos / 'other').mkdir()
    (videos / 'other/é.webm').touch()
    with pytest.raises(ValueError, match='line 2 of .* may be deep/é.webm or other/é'):
        table(videos, 'path,label\né.webm,x\n')
    assert labels(table(videos, 'path,label\ntwo.mp4,x\n')) == {'two.mp4': 'x'}


def test_classes_from_folders(tmp_path):
    for name in ('run/a.mp4', 'run/deep/b.mp4', 'jump/c.mp4', 'd.mp4', '.trash/e.mp4'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'sit').mkdir()
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations/all.csv').touch()
    collection = read(tmp_path, labels_from_folders=True)
    assert collection.classes == ['jump', 'run', 'sit']
    assert labels(collection) == {
        '.trash/e.mp4': None,
        'd.mp4': None,
        'jump/c.mp4': 'jump',
        'run/a.mp4': 'run',
        'run/deep/b.mp4': 'run',
    }


def test_splits_and_classes_from_folders(tmp_path):
    for name in ('Train/run/a.mp4', 'Train/jump/b.mp4', 'valid/run/c.mp4'):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert read(tmp_path, labels_from_folders=True).samples == [
        Sample('Train/jump/b.mp4', 'jump', 'train'),
        Sample('Train/run/a.mp4', 'run', 'train'),
        Sample('valid/run/c.mp4', 'run', 'val'),
    ]


def test_no_labels_and_no_folders(videos):
    assert labels(read(videos)) == dict.fromkeys(NAMES)
    for path in videos.rglob('deep/*'):
        path.unlink()
    with pytest.raises(ValueError, match='expected CLASS/VIDEO'):
        read(videos, labels_from_folders=True)
