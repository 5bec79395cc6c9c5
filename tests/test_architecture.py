"""Which package may import which: the floors are listed in tools/architecture.py."""

import shutil

import pytest

from tests.helpers import ROOT, load_tool

PACKAGE = ROOT / 'projects/adamae'


@pytest.fixture(scope='module')
def architecture():
    return load_tool('architecture')


def test_nothing_imports_upwards(architecture):
    assert architecture.upward_imports(ROOT) == []


def test_every_file_has_a_floor(architecture):
    known = {r.partition('.')[0] for floor in architecture.FLOORS for r in floor}
    assert {p.name.removesuffix('.py') for p in PACKAGE.iterdir()} <= {
        *known,
        '__init__',
        '__pycache__',
    }


@pytest.mark.parametrize(
    ('file', 'statement', 'error'),
    [
        ('datasets/from_config.py', 'from ..models import tokens', 'models.tokens'),
        ('models/tokens.py', 'from projects.adamae import engine', 'engine'),
        ('models/losses/adamae_loss.py', 'from .. import samplers', 'models.samplers'),
        ('video/reader.py', 'def f():\n    import projects.adamae.launch', 'launch'),
        ('utils/cpu.py', 'from projects.adamae import MAERecognizer', ''),
    ],
)
def test_an_upward_import_is_found(architecture, tmp_path, file, statement, error):
    copy = tmp_path / 'projects/adamae'
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns('__pycache__'))
    with open(copy / file, 'a', encoding='utf-8') as source:
        source.write(f'\n{statement}\n')
    (found,) = architecture.upward_imports(tmp_path)
    assert found.startswith(f'projects/adamae/{file}:')
    assert found.endswith(f'must not import {error}')


def test_the_picture_is_of_today(architecture):
    page = (ROOT / 'docs/architecture.md').read_text('utf-8')
    assert page == architecture.updated_page(ROOT), 'run python tools/architecture.py'
