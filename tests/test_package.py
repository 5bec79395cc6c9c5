"""What the wheel and the sdist hold, and that they work without a checkout."""

import os
import shutil
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from projects.adamae_command import commands
from tests.helpers import CONFIGS, ROOT, run_command

NAMES = 'projects', 'configs', 'tools', 'requirements', 'docs', 'tests'
FILES = 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE'
OTHER_FILES = 'CHANGELOG.md', 'CONTRIBUTING.md', 'Makefile'
BUILD = 'from setuptools import build_meta; print(build_meta.build_{}("dist"))'
# In a folder of somebody who has the wheel and no checkout.
STRANGER = """
_base_ = 'adamae::adamae/{}.py'
model = dict(backbone=dict(depth=2))
train_cfg = dict(max_epochs=1)
param_scheduler = []
"""
LOAD = """
import sys
import adamae
from mmengine.config import Config
from projects.adamae_files import CONFIGS, IS_INSTALLED

assert IS_INSTALLED and CONFIGS.is_relative_to(sys.argv[1]), CONFIGS
assert adamae.__file__.startswith(sys.argv[1]), adamae.__file__
cfg = Config.fromfile('mine.py')
assert cfg.model.backbone.depth == 2 and cfg.model._scope_ == 'adamae'
print(len(adamae.list_models()))
"""


def build(kind, source):
    """Build 'wheel' or 'sdist' as pip does; returns the file."""
    done = run_command(sys.executable, '-c', BUILD.format(kind), cwd=source)
    assert done.returncode == 0, done.stdout + done.stderr
    return source / 'dist' / done.stdout.split()[-1]


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """The files of this checkout, where a build leaves nothing behind in it."""
    folder = tmp_path_factory.mktemp('source')
    ignore = shutil.ignore_patterns('__pycache__', '*.egg-info')
    for name in NAMES:
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignore)
    for name in (*FILES, *OTHER_FILES):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope='module')
def wheel(source):
    old = source / 'build/lib/projects/adamae/removed_since.py'
    old.parent.mkdir(parents=True)
    old.touch()  # of a build before this one
    return build('wheel', source)


def files_in(folder, *patterns):
    paths = (path for pattern in patterns for path in folder.rglob(pattern))
    files = (path for path in paths if path.is_file() and path.suffix != '.pyc')
    return {path.relative_to(folder).as_posix() for path in files}


def test_wheel(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if '.dist-info/' not in name}
        file.extractall(tmp_path / 'installed')
    code = {n.removeprefix('projects/') for n in names if n.startswith('projects/')}
    ours = files_in(ROOT / 'projects', '*.*')  # with templates and the like
    assert code == {n for n in ours if not n.startswith('adamae_package/')}
    configs = files_in(CONFIGS, '*.py', '*.yml')
    tools = [path for group in commands().values() for path in group.values()]
    tools += [*ROOT.glob('tools/_*'), *ROOT.glob('tools/**/projects/__init__.py')]
    mim = {f'configs/adamae/{name}' for name in configs} | {'model-index.yml'}
    mim |= {f'tools/{p.relative_to(ROOT / "tools")}' for p in tools if p.is_file()}
    package = {f'.mim/{name}' for name in mim}
    package |= files_in(ROOT / 'projects/adamae_package', '*.py')
    assert names - {f'projects/{n}' for n in code} == {f'adamae/{n}' for n in package}

    home = tmp_path / 'home'
    home.mkdir()
    (home / 'mine.py').write_text(STRANGER.format('adamae_vitb_ssv2_pretrain'))
    outside = dict(cwd=home, PYTHONPATH=str(tmp_path / 'installed'))
    command = 'from projects.adamae_command import main; main()'
    done = run_command(sys.executable, '-c', command, '--help', **outside)
    assert 'Train and test:\n' in done.stdout, done.stderr
    folder = tmp_path / 'installed'
    done = run_command(sys.executable, '-c', LOAD, folder, **outside)
    assert done.returncode == 0, done.stderr
    assert 'pkg_resources' not in done.stderr
    assert int(done.stdout) > 60
    assert os.listdir(home) == ['mine.py']


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    """Folder of the commands of an environment with the wheel, in which torch is."""
    folder = tmp_path_factory.mktemp('environment')
    done = run_command(sys.executable, '-m', 'venv', '--without-pip', folder)
    assert done.returncode == 0, done.stderr
    (packages,) = folder.glob('lib/python3*/site-packages')
    # Where torch is. Links to checkouts there have no effect here.
    outer = [path for path in sys.path if path.endswith('-packages')]
    (packages / 'outer.pth').write_text('\n'.join(outer))
    python = folder / 'bin/python'
    pip = sys.executable, '-m', 'pip', '--python', python, 'install'
    done = run_command(*pip, '--no-deps', '--no-index', wheel, PYTHONPATH='')
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / 'bin'


@pytest.mark.slow
def test_a_wheel_from_the_sdist_is_the_same(source, wheel, tmp_path):
    with tarfile.open(build('sdist', source)) as file:
        file.extractall(tmp_path, filter='data')
    (folder,) = tmp_path.iterdir()
    for name in ('docs/install.md', 'tests/helpers.py', *OTHER_FILES):
        assert (folder / name).is_file()
    assert not (folder / 'projects/adamae_package/.mim/configs').exists()
    pip = sys.executable, '-m', 'pip', 'wheel', '--no-index', '--no-deps'
    done = run_command(*pip, '--no-build-isolation', '.', cwd=folder, PYTHONPATH='')
    assert done.returncode == 0, done.stdout + done.stderr
    (again,) = folder.glob('*.whl')
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert one.namelist() == other.namelist()


@pytest.mark.slow
def test_demo_and_a_config_of_somebody_else(installed, tmp_path):
    outside = dict(cwd=tmp_path, PYTHONPATH='', timeout=1200)
    done = run_command(installed / 'adamae', 'demo', '--quick', **outside)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '$ adamae train configs/demo/motion_pretrain.py' in done.stdout
    assert len([*tmp_path.glob('work_dirs/demo_quick/pictures/*.png')]) == 4
    assert {*os.listdir(tmp_path)} == {'data', 'work_dirs'}

    (tmp_path / 'mine.py').write_text(STRANGER.format('demo/motion_pretrain'))
    outside['MOTION_DATA'] = 'data/motion_quick'
    train = run_command(installed / 'adamae', 'train', 'mine.py', **outside)
    assert train.returncode == 0, train.stdout + train.stderr
    assert (tmp_path / 'work_dirs/mine/epoch_1.pth').is_file()

    if find_spec('mim') is None:
        pytest.skip('all but mim: pip install --no-deps -r requirements/mim.txt')
    mim = installed / 'python', '-m', 'mim'
    pair = '--gpus', '2', '--gpus-per-node', '2', '--launcher', 'pytorch'
    for gpus, folder in (('--gpus', '0'), 'by_mim'), (pair, 'by_two'):
        arguments = 'train', 'adamae', 'mine.py', *gpus, '--work-dir', folder
        train = run_command(*mim, *arguments, **outside)
        assert train.returncode == 0, train.stdout + train.stderr
        assert Path(tmp_path, folder, 'epoch_1.pth').is_file()
    (tmp_path / 'test.py').write_text(
        "_base_ = 'adamae::adamae/demo/motion_finetune.py'"
    )
    checkpoint = max(tmp_path.glob('work_dirs/demo_quick/*/finetune_*/epoch_*.pth'))
    arguments = 'test', 'adamae', 'test.py', '--checkpoint', checkpoint, '--gpus', '0'
    tested = run_command(*mim, *arguments, **outside)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert 'acc/top1' in tested.stdout + tested.stderr
    shown = run_command(*mim, 'search', 'adamae', **outside)
    assert 'adamae_vitb_ssv2_pretrain' in shown.stdout, shown.stderr
