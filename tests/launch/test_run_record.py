"""What a run says of itself in run.json."""

import errno
import hashlib
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from projects.adamae.analysis.run_files import PARTS, read_record
from projects.adamae.launch import run_record
from projects.adamae.utils import environment
from tests.helpers import ROOT, run_tool


@pytest.fixture(scope='module')
def runs(toy):
    """The records of a training, a run that starts with its weights, and a test."""
    work = toy.parent / 'recorded'
    records = []
    for arguments in (
        ('train', toy, '--no-validate', '--work-dir', work / 'first'),
        ('train', toy, '--work-dir', work / 'tuned', '--cfg-options')
        + (f'load_from={work / "first/epoch_1.pth"}',),
        ('test', toy, work / 'first/epoch_1.pth', '--work-dir', work / 'tested'),
    ):
        run_tool(*arguments)
        folder = Path(arguments[arguments.index('--work-dir') + 1])
        (path,) = folder.glob('*/run.json')
        assert {p.suffix for p in path.parent.iterdir()} >= {'.json', '.log'}
        records.append(read_record(path))
    return records


def test_a_training_says_all_that_its_results_depend_on(toy, runs):
    record = runs[0]
    assert record['kind'] == 'train' and record['processes'] == 1
    assert set(PARTS) <= record.keys() and record['not_recorded'] == {}
    assert record['seeds'] == {
        'seed': 3,
        'diff_rank_seed': True,
        'deterministic': False,
    }
    assert record['config_file'] == str(toy)
    assert record['config']['model']['backbone']['embed_dims'] == 16
    assert record['config']['train_dataloader']['dataset']['data_prefix']
    # The list is hashed as it is in the file.
    content = (toy.parent / 'list.txt').read_bytes()
    (key, data), *others = record['data'].items()
    assert key == 'train_dataloader.dataset' and not others
    assert data['lines'] == 4 and Path(data['ann_file']).name == 'list.txt'
    assert data['sha256'] == hashlib.sha256(content).hexdigest()
    assert record['packages']['stack']['torch'] == metadata.version('torch')
    assert record['packages']['all']['pytest'] == pytest.__version__
    assert record['hardware']['cpu'] and record['hardware']['memory_gib'] > 0
    assert sys.executable.rpartition('/')[2][:6] in record['command']


def test_fine_tuning_and_tests_name_their_weights(runs):
    first, tuned, tested = runs
    assert first['weights'] is None
    assert [*tuned['data']] == ['train_dataloader.dataset', 'val_dataloader.dataset']
    assert [*tested['data']] == ['test_dataloader.dataset'] and tested['kind'] == 'test'
    assert tuned['weights'] == tested['weights']
    assert len(tuned['weights']['sha256_of_checksums']) == 64


def test_weights_are_known_by_content_and_not_by_name(tmp_path):
    digests = []
    for name, value in (('a', 1.0), ('other', 1.0), ('c', 2.0)):
        path = tmp_path / f'{name}.pth'
        torch.save({'x': torch.tensor([value])}, path)
        cfg = {'load_from': str(path)}
        digests.append(run_record._weights(cfg)['sha256_of_checksums'])
    assert digests[0] == digests[1] != digests[2]
    torch.save({}, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    old = run_record._weights({'load_from': str(tmp_path / 'old.pth')})
    content = (tmp_path / 'old.pth').read_bytes()
    assert old['sha256'] == hashlib.sha256(content).hexdigest()
    assert old['bytes'] == len(content)


def test_a_folder_is_known_by_names_and_sizes(tmp_path, monkeypatch):
    def describe():
        dataset = dict(type='VideoFolderDataset', data_prefix=dict(video=str(folder)))
        return run_record._describe_dataset(dataset)

    folder = tmp_path / 'first'
    (folder / 'sub').mkdir(parents=True)
    (folder / 'sub/b.mp4').write_bytes(b'12')
    (folder / 'a\udcff.mp4').write_bytes(b'123')  # a name that is no UTF-8
    first = describe()
    assert first['videos'] == 2 and len(first['sha256']) == 64
    folder = folder.rename(tmp_path / 'moved')
    assert describe()['sha256'] == first['sha256']
    (folder / 'note.txt').write_text('no video')
    assert describe()['sha256'] == first['sha256']
    (folder / 'sub/b.mp4').write_bytes(b'1234')
    last = describe()
    assert last['sha256'] != first['sha256']
    assert last['sha256_of_names'] == first['sha256_of_names']
    monkeypatch.setattr(run_record, '_SECONDS', -1)  # as on a slow disk
    assert describe() == {**last, 'sha256': None}


def test_what_cannot_be_found_out_does_not_end_a_run(toy, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError('two\nlines')

    monkeypatch.setattr(run_record, 'hardware', fail)
    monkeypatch.setattr(run_record, 'git_state', fail)
    monkeypatch.setattr(run_record, '_describe_list', fail)
    run_tool('train', toy, '--no-validate', '--work-dir', tmp_path)
    (path,) = tmp_path.glob('*/run.json')
    record = json.loads(path.read_text())
    assert record['hardware'] is None and record['seeds']['seed'] == 3
    assert record['data'] == {'train_dataloader.dataset': None}
    assert record['not_recorded'] == dict.fromkeys(
        ['data.train_dataloader.dataset', 'code', 'code.config', 'hardware'],
        'RuntimeError: two lines',
    )
    assert (tmp_path / 'epoch_1.pth').is_file()


def test_a_full_disk_does_not_end_a_run(toy, tmp_path, monkeypatch, warned):
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(run_record, 'atomic_path', full)
    run_tool('train', toy, '--no-validate', '--work-dir', tmp_path)
    assert (tmp_path / 'epoch_1.pth').is_file()
    assert any('run.json: No space left on device' in text for text in warned)


@pytest.fixture
def checkout(tmp_path):
    """A repository with one commit of code.py."""
    folder = tmp_path / 'checkout'
    folder.mkdir()
    (folder / 'code.py').write_text('a = 1\n')
    _git(folder, 'init', '-q')
    _git(folder, 'add', '.')
    _git(folder, 'commit', '-q', '-m', 'first')
    return folder


def _git(folder, *arguments):
    who = '-c', 'user.name=a', '-c', 'user.email=a@b.c', '-c', 'commit.gpgsign=false'
    done = subprocess.run(
        ['git', '-C', folder, *who, *arguments], check=True, capture_output=True
    )
    return done.stdout.decode().strip()


def test_state_of_a_checkout(checkout, monkeypatch):
    file = checkout / 'code.py'
    clean = environment.git_state(file)
    assert clean['commit'] == _git(checkout, 'rev-parse', 'HEAD')
    assert clean['checkout'] == str(checkout)
    assert not clean['dirty'] and clean['diff'] == [] and clean['diff_sha256'] is None
    (checkout / 'new.py').write_text('')
    (checkout / 'notes.txt').write_text('')
    file.write_text('a = 2\n')
    dirty = environment.git_state(file)
    assert dirty['dirty'] and dirty['untracked'] == ['new.py']
    assert '-a = 1' in dirty['diff'] and '+a = 2' in dirty['diff']
    file.write_text('a = 3\n')
    assert environment.git_state(file)['diff_sha256'] != dirty['diff_sha256']
    file.write_text('a = 2\n' * 20_000)
    long = environment.git_state(file)
    assert long['diff'] is None and long['diff_sha256']
    # A hook of git names another repository.
    monkeypatch.setenv('GIT_DIR', str(ROOT / '.git'))
    assert environment.git_state(file)['commit'] == clean['commit']


def test_code_outside_of_a_checkout(checkout, tmp_path, monkeypatch):
    (tmp_path / 'code.py').write_text('')
    assert environment.git_state(tmp_path / 'code.py') is None
    # Installed into an environment that lies in somebody's checkout.
    (checkout / '.venv').mkdir()
    (checkout / '.venv/code.py').write_text('')
    assert environment.git_state(checkout / '.venv/code.py') is None
    monkeypatch.setenv('PATH', '')
    with pytest.raises(OSError, match='git is not installed'):
        environment.git_state(checkout / 'code.py')


def test_git_that_refuses_or_hangs(checkout, monkeypatch):
    (checkout / '.git/HEAD').write_text('nothing')
    with pytest.raises(OSError, match='^git ls-files: '):
        environment.git_state(checkout / 'code.py')

    def hang(command, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, 'run', hang)
    with pytest.raises(TimeoutError, match='git took more than'):
        environment.git_state(checkout / 'code.py')


def test_versions_are_those_that_python_gives():
    versions = environment.package_versions()
    for name in ('torch', 'mmengine', 'numpy'):
        assert versions[name] == metadata.version(name)
    assert len(versions) > 20


@pytest.mark.parametrize(
    ('text', 'version'),
    [
        (
            'NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19',
            '535.104.05',
        ),
        (
            'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Rel',
            '570.86.15',
        ),
        ('', None),
    ],
)
def test_driver(text, version, tmp_path, monkeypatch):
    (tmp_path / 'version').write_text(text)
    monkeypatch.setattr(environment, '_DRIVER', tmp_path / 'version')
    assert environment.hardware()['driver'] == version
