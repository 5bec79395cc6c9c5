"""Published data sets, in miniature: all defects are found, none is invented."""

import importlib

import pytest

from projects.adamae.datasets.preparers.collection import Sample
from projects.adamae.datasets.preparers.official import recognize
from tests.datasets.preparers import miniatures


def read(kind, videos, annotations, **options):
    module = importlib.import_module(f'projects.adamae.datasets.preparers.{kind}')
    return module.read(videos, annotations, **options)


def build(tmp_path, kind, *args, **options):
    return read(kind, *miniatures.BUILDERS[kind](tmp_path, *args, **options))


def rows(collection):
    """Name, number and split of each sample."""
    return {
        (
            s.name,
            None if s.label is None else collection.classes.index(s.label),
            s.split,
        )
        for s in collection.samples
    }


@pytest.mark.parametrize(
    'prefix, suffix', [('something-something-v2-', '.webm'), ('', '.mp4')]
)
def test_ssv2(tmp_path, prefix, suffix):
    found = build(tmp_path, 'ssv2', prefix=prefix, suffix=suffix)
    assert found.classes == [
        'Approaching something with your camera',
        'Putting something on a surface',
        'Pushing something from left to right',
        'Showing that something is empty',
    ]
    assert rows(found) == {
        (f'1{suffix}', 1, 'train'),
        (f'2{suffix}', 0, 'train'),
        (f'3{suffix}', 2, 'train'),
        (f'4{suffix}', 2, 'val'),
        (f'5{suffix}', None, 'test'),
    }
    assert found.samples[0] == Sample(
        f'1{suffix}', 'Putting something on a surface', 'train'
    )
    assert len(found.samples) == 5
    assert found.missing == ['6', '8', '9']
    assert found.unlisted == [f'77{suffix}', f'99{suffix}']
    assert found.repeated == ['1']


def test_answers_label_the_test_set_of_ssv2(tmp_path):
    found = build(tmp_path, 'ssv2', 'answers')
    assert ('5.webm', 2, 'test') in rows(found)


DRUMS, ZUMBA = '-3B32lodo2M_000059_000069', 'zumbazumba1_000105_000115'
KINETICS = {
    'by class': {
        (f'train/air_drumming/{DRUMS}.mp4', 1, 'train'),
        ('train/air_drumming/_a_b_c_d_e__000000_000010.mp4', 1, 'train'),
        ('train/zumba/zumbazumba1_000005_000015.mp4', 3, 'train'),
        (f'train/zumba/{ZUMBA}.mp4', 3, 'train'),
        ("train/massaging_person's_head/massagemas1_000001_000011.mp4", 2, 'train'),
        ('val/zumba/validvalid1_000020_000030.mp4', 3, 'val'),
        ('test/testtestte1_000417_000427.mp4', None, 'test'),
    },
    'flat': {
        ('-3B32lodo2M.mp4', 1, 'train'),
        ('_a_b_c_d_e__0_10.mp4', 1, 'train'),
        ('zumbazumba1_5_15.mp4', 3, 'train'),
        ('zumbazumba1_105_115.mp4', 3, 'train'),
        ('massagemas1_1_11.mp4', 2, 'train'),
        ('validvalid1_20_30.mp4', 3, 'val'),
        ('testtestte1_417_427.mp4', None, 'test'),
    },
    'by split': {
        (f'videos_train/{DRUMS}.mp4', 1, 'train'),
        ('videos_train/_a_b_c_d_e__000000_000010.mp4', 1, 'train'),
        ('videos_train/zumbazumba1_000005_000015.mp4', 3, 'train'),
        (f'videos_train/{ZUMBA}.mp4', 3, 'train'),
        ('videos_train/massagemas1_000001_000011.mp4', 2, 'train'),
        ('videos_val/validvalid1_000020_000030.mp4', 3, 'val'),
        ('videos_test/testtestte1_000417_000427.mp4', None, 'test'),
    },
}


@pytest.mark.parametrize('layout', KINETICS)
def test_kinetics(tmp_path, layout):
    found = build(tmp_path, 'kinetics', layout=layout)
    assert found.classes == [
        'abseiling',
        'air drumming',
        "massaging person's head",
        'zumba',
    ]
    assert rows(found) == KINETICS[layout] and len(found.samples) == 7
    assert found.missing == [f'missingmis{i}_000001_000011' for i in (1, 2, 3)]
    assert found.unlisted == ['unlisted_un_000001_000011.mp4']
    assert found.repeated == ['zumbazumba1_000005_000015']


def test_replacements_of_damaged_kinetics_videos_are_taken(tmp_path):
    found = build(tmp_path, 'kinetics', 'replacement')
    name = f'replacement/replacement_for_corrupted_k400/{DRUMS}.mp4'
    assert (name, 1, 'train') in rows(found)
    assert f'train/air_drumming/{DRUMS}.mp4' in found.unlisted


def test_a_film_of_two_clips_needs_its_times(tmp_path):
    videos, annotations = miniatures.kinetics(tmp_path, layout='flat')
    (videos / 'zumbazumba1_5_15.mp4').rename(videos / 'zumbazumba1.mp4')
    found = read('kinetics', videos, annotations)
    assert 'zumbazumba1_000005_000015' in found.missing
    assert 'zumbazumba1.mp4' in found.unlisted


def test_ucf101(tmp_path):
    videos, annotations = miniatures.ucf101(tmp_path)
    found = read('ucf101', videos, annotations)
    assert found.classes == ['ApplyEyeMakeup', 'HandstandPushups', 'YoYo']
    assert rows(found) == {
        ('ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi', 0, 'train'),
        ('ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c02.avi', 0, 'train'),
        ('HandstandPushups/v_HandStandPushups_g09_c01.avi', 1, 'train'),
        ('ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi', 0, 'val'),
        ('HandstandPushups/v_HandStandPushups_g01_c01.avi', 1, 'val'),
    }
    assert [s.group for s in found.samples[:3]] == [
        'ApplyEyeMakeup_g08',
        'ApplyEyeMakeup_g08',
        'HandstandPushups_g09',
    ]
    assert found.missing == ['v_HandStandPushups_g10_c01.avi']
    assert found.unlisted == ['YoYo/v_YoYo_g25_c01.avi']
    assert found.repeated == ['v_ApplyEyeMakeup_g08_c01.avi']
    # The second split is the first one the other way round.
    found = read('ucf101', videos, annotations, fold=2)
    assert ('ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi', 0, 'train') in rows(found)
    with pytest.raises(ValueError, match='fold: expected 1, 2 or 3, got 4'):
        read('ucf101', videos, annotations, fold=4)


def test_hmdb51(tmp_path):
    videos, annotations = miniatures.hmdb51(tmp_path)
    found = read('hmdb51', videos, annotations)
    assert found.classes == ['brush_hair', 'cartwheel', 'wave']

    def named(label, number, i, split):
        name = miniatures.HMDB51_NAMES[label].format(i)
        return f'{label}/{name}', number, split

    splits = {0: 'train', 1: 'train', 2: 'val', 4: 'train'}
    assert rows(found) == {
        named(label, number, i, split)
        for number, label in enumerate(('brush_hair', 'cartwheel'))
        for i, split in splits.items()
    }
    names = miniatures.HMDB51_NAMES
    assert [n for n in found.missing if 'wave' not in n] == [
        names['brush_hair'].format(5),
        names['cartwheel'].format(5),
    ]
    assert found.unlisted == [
        named('brush_hair', 0, 3, '')[0],
        named('cartwheel', 0, 3, '')[0],
        'cartwheel/unlisted.avi',
    ]
    assert found.repeated == [names['cartwheel'].format(0)]
    assert named('cartwheel', 1, 0, 'val') in rows(
        read('hmdb51', videos, annotations, fold=2)
    )


def test_diving48(tmp_path):
    found = build(tmp_path, 'diving48')
    assert found.classes == [
        'Back+15som+05Twis+FREE',
        'Back+15som+15Twis+FREE',
        'Inward+Dive+NoTwis+PIKE',
    ]
    assert found.samples == [
        Sample('_8Vy3dlHg2w_00000.mp4', found.classes[1], 'train', '_8Vy3dlHg2w'),
        Sample('_8Vy3dlHg2w_00001.mp4', found.classes[0], 'train', '_8Vy3dlHg2w'),
        Sample('-mBz7Uq9Jmk_00003.mp4', found.classes[1], 'val', '-mBz7Uq9Jmk'),
    ]
    assert found.missing == ['2x00lRzlTVQ_00007', '-mBz7Uq9Jmk_00004']
    assert found.unlisted == ['2x00lRzlTVQ_00009.mp4']
    assert found.repeated == ['_8Vy3dlHg2w_00001']


DEFECTS = {
    'ssv2': {
        'two splits': 'validation.json: entry 3: expected one split for the video 2, '
        "got 'val', and 'train' in .*train.json: entry 2",
        'two labels': "train.json: entry 6: expected one label for the video 2, got 'P",
        'misspelled': r"train.json: entry 6: .* 4 classes, got 'Puting .*\('Putting s",
        'two files': 'expected one file for 1 in .*, got 2: 1.mp4, 1.webm; remove',
        'numbers': "labels.json: expected the classes 0 to 3, each once, got 7 for 'S",
        'wrong file': 'expected a list of videos in it, got .*of kinetics: use the k',
        'test as train': 'train.json: entry 1: expected id and template, got .*is it t',
        'no train': '--labels: expected something.*, found no file for train in',
    },
    'kinetics': {
        'two splits': 'val.csv: line 4: expected one split for the video -3B32lodo2M_0',
        'misspelled': r"val.csv: line 4: .*the 4 classes, got 'zumbaa' \('zumba'\?\)",
        'other folder': r'massagemas2.* in a folder for "massaging person.*for .zumba',
        'no label': 'train.csv: line 10: expected a label, got none',
        'times': 'train.csv: line 10: .* the times in seconds, got .*, .x., .30.',
        'no train': 'expected train.csv, .*, got no labels for training',
    },
    'ucf101': {
        'numbers': "classInd.txt: expected the classes 1 to 3, each once, got 4 for 'Y",
        'two splits': 'testlist01.txt: line 3: expected one split for the video v_App',
        'other number': 'trainlist01.txt: line 1: expected 1 for ApplyEyeMakeup, .*got',
        'misspelled': r"testlist01.txt: line 3: .*got 'YoYoo' \('YoYo'\?\)",
        'not a list': 'trainlist01.txt: line 5: expected CLASS/v_CLASS_g01_c01.avi NU',
        'no train': '--labels: expected classInd.txt, .*no file for trainlist01.txt in',
    },
    'hmdb51': {
        'two splits': 'cartwheel_test_split1.txt: line 8: expected one split for the',
        'not a list': 'cartwheel_test_split1.txt: line 8: expected NAME.avi and 0, 1',
        'no class': 'expected CLASS_test_split1.txt .*none for cartwheel in',
        'other folder': "in a folder for 'cartwheel', .* got one for 'brush_hair'",
    },
    'diving48': {
        'two splits': 'test.json: entry 3: expected one split for the video _8Vy3',
        'label': 'train.json: entry 5: expected a label from 0 to 2, .*got 3',
        'two labels': 'train.json: entry 5: expected one label for the video _8Vy3',
        'version 1': 'expected Diving48_V2_train.json.*got .*Diving48_test.json',
    },
}


@pytest.mark.parametrize(
    'kind, defect', [(kind, defect) for kind in DEFECTS for defect in DEFECTS[kind]]
)
def test_contradictions_are_one_clear_error(tmp_path, kind, defect):
    with pytest.raises((FileNotFoundError, ValueError), match=DEFECTS[kind][defect]):
        build(tmp_path, kind, defect)


@pytest.mark.parametrize('kind', miniatures.BUILDERS)
def test_videos_or_files_of_another_data_set(tmp_path, kind):
    other = 'ssv2' if kind != 'ssv2' else 'kinetics'
    videos, annotations = miniatures.BUILDERS[kind](tmp_path / kind)
    _, others = miniatures.BUILDERS[other](tmp_path / other)
    file = next(f for f in sorted(others[0].iterdir()) if 'train' in f.name)
    for given in ([file], others[0]):
        with pytest.raises(ValueError, match=f'of {other}: use the kind {other}'):
            read(kind, videos, given)
    (tmp_path / 'empty').mkdir()
    miniatures.write_clip(tmp_path / 'empty/film.mp4')
    with pytest.raises(
        FileNotFoundError, match='found none of them among the 1 videos'
    ):
        read(kind, tmp_path / 'empty', annotations)
    with pytest.raises(
        FileNotFoundError, match='--labels: expected .* got no --labels'
    ):
        read(kind, videos, [])
    with pytest.raises(FileNotFoundError, match='found nothing at .*nowhere'):
        read(kind, videos, [tmp_path / 'nowhere'])
    with pytest.raises(
        FileNotFoundError, match='--videos: expected a folder of videos'
    ):
        read(kind, tmp_path / 'nowhere', annotations)


@pytest.mark.parametrize('kind', miniatures.BUILDERS)
def test_recognizes_the_files_of_each_data_set(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(miniatures, 'write_clip', lambda path: None)
    _, annotations = miniatures.BUILDERS[kind](tmp_path)
    files = [
        file
        for path in annotations
        for file in (path.iterdir() if path.is_dir() else [path])
        if file.name != 'classInd.txt'
    ]
    assert files and {recognize(file) for file in files} == {kind}


@pytest.mark.parametrize(
    'name, text, kind',
    [
        ('list.txt', 'a.mp4 0\nb.mp4 1\n', None),
        ('list.csv', 'a.mp4,0\nb.mp4,1\n', None),
        ('trainlist01.txt', 'a/v_a_g01_c01.avi 0\n', None),
        ('my.csv', 'path,label\na.mp4,jump\n', 'folder'),
        ('my.csv', 'path,start,end,label\na.mp4,0,1,jump\n', 'segments'),
        ('test-answers.csv', '5;Pushing something\n', 'ssv2'),
        ('x.json', '{"any": 1}', None),
        ('x.txt', '', None),
    ],
)
def test_recognizes_other_files(tmp_path, name, text, kind):
    (tmp_path / name).write_text(text)
    assert recognize(tmp_path / name) == kind


LONG = 'x' * 200_000


@pytest.mark.parametrize(
    'kind, file, text, message',
    [
        (
            'ssv2',
            'labels/{}train.json',
            '[{"id": 1, "template": null}]',
            'entry 1: exp',
        ),
        ('ssv2', 'labels/{}train.json', '[1]', 'entry 1: expected id and template'),
        ('ssv2', 'labels/{}train.json', '[', 'train.json: expected JSON, got'),
        ('ssv2', 'labels/{}labels.json', '{"a": 1e400}', 'a number for each template'),
        ('ssv2', 'labels/{}labels.json', '{"a": [1]}', 'a number for each template'),
        (
            'kinetics',
            'annotations/train.csv',
            f'youtube_id,{LONG}',
            'expected CSV, got',
        ),
        (
            'kinetics',
            'annotations/train.csv',
            'youtube_id,time_start,time_end,label\na,0,inf,b',
            'line 2: expected .* the times in seconds, got .*inf',
        ),
        ('kinetics', 'annotations/train.csv', b'\xe9', 'expected text in UTF-8'),
        ('diving48', 'Diving48_vocab.json', '["Back", "x"]', 'a list of four words'),
        ('diving48', 'Diving48_vocab.json', '[[1, 2]]', 'a list of four words'),
        ('diving48', 'Diving48_V2_train.json', '[[]]', 'entry 1: expected vid_name'),
        (
            'ucf101',
            'ucfTrainTestlist/classInd.txt',
            'one YoYo',
            'line 1: .*NUMBER CLASS',
        ),
    ],
)
def test_broken_files(tmp_path, kind, file, text, message):
    videos, annotations = miniatures.BUILDERS[kind](tmp_path)
    path = tmp_path / file.format('something-something-v2-')
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        read(kind, videos, annotations)
