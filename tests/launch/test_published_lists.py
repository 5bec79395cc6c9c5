"""An official file in place of a list: one line says which command makes the list."""

import pytest
from mmengine.config import Config

from projects import adamae_command
from projects.adamae import launch
from tests.datasets.preparers import miniatures
from tests.helpers import run_command, video_dataset_cfg


def config(root, file):
    dataset = video_dataset_cfg(root, file)
    return Config(dict(train_dataloader=dict(dataset=dataset)))


@pytest.mark.parametrize(
    'kind, file',
    [
        ('ssv2', 'labels/something-something-v2-train.json'),
        ('ssv2', 'labels/something-something-v2-test.json'),
        ('ssv2', 'labels/something-something-v2-labels.json'),
        ('kinetics', 'annotations/train.csv'),
        ('kinetics', 'annotations/test.csv'),
        ('diving48', 'Diving48_V2_train.json'),
        ('diving48', 'Diving48_vocab.json'),
        ('ucf101', 'ucfTrainTestlist/trainlist01.txt'),
    ],
)
def test_official_files(tmp_path, monkeypatch, kind, file):
    monkeypatch.setattr(miniatures, 'write_clip', lambda path: None)
    miniatures.BUILDERS[kind](tmp_path)
    (tmp_path / 'videos').mkdir(exist_ok=True)
    with pytest.raises(ValueError) as error:
        launch.check_data(config(tmp_path, file), ('train',))
    text = str(error.value)
    command = f'python tools/data/prepare.py {kind} --videos FOLDER --labels {tmp_path}'
    assert f'{command}/{file} --out FOLDER' in text and '\n' not in text
    assert text.startswith(f'train_dataloader.dataset.ann_file: {tmp_path}/{file} is ')


def test_the_advice_works_without_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(adamae_command, 'IS_INSTALLED', True)
    monkeypatch.setattr(miniatures, 'write_clip', lambda path: None)
    miniatures.BUILDERS['kinetics'](tmp_path)
    (tmp_path / 'videos').mkdir(exist_ok=True)
    with pytest.raises(ValueError, match='make them: adamae prepare kinetics --videos'):
        launch.check_data(config(tmp_path, 'annotations/train.csv'), ('train',))


@pytest.mark.parametrize(
    'text, kind',
    [
        ('path,label\n0.mp4,jump\n', 'folder'),
        ('video\tstart\tend\tlabel\n0.mp4\t0\t1\tjump\n', 'segments'),
        ('name,group,class\n0.mp4,a,jump\n', 'folder'),
    ],
)
def test_tables_of_ones_own(tmp_path, text, kind):
    (tmp_path / 'videos').mkdir()
    (tmp_path / 'mine.csv').write_text(text)
    with pytest.raises(ValueError, match=f'prepare.py {kind} --videos FOLDER --labels'):
        launch.check_data(config(tmp_path, 'mine.csv'), ('train',))


@pytest.mark.parametrize(
    'file, name', [('my_test_split1.txt', 'a.avi'), ('list.txt', '[a].avi')]
)
def test_lists_that_look_like_official_files_are_read(tmp_path, file, name):
    miniatures.write_clip(tmp_path / 'videos' / name)
    (tmp_path / file).write_text(f'{name} 1\n')
    launch.check_data(config(tmp_path, file), ('train',))


@pytest.mark.slow
def test_training_answers_in_one_line(tmp_path):
    miniatures.kinetics(tmp_path)
    run = run_command(
        'tools/train.py',
        'configs/adamae_vitb_k400_pretrain.py',
        '--cfg-options',
        f'train_dataloader.dataset.ann_file={tmp_path}/annotations/train.csv',
        f'train_dataloader.dataset.data_prefix.video={tmp_path}/videos',
        f'work_dir={tmp_path}/run',
    )
    assert run.returncode == 2
    assert 'prepare.py kinetics --videos FOLDER' in run.stderr.splitlines()[-1]
