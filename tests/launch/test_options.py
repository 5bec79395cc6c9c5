"""Values of ``--cfg-options``."""

import sys
from pathlib import Path

import pytest

from projects.adamae import launch
from projects.adamae.launch.options import parse_options
from tests.helpers import load_tool, run_tool

CONFIG = dict(
    load_from=None,
    optimizer=dict(lr=0.1, betas=(0.9, 0.95), fused=True),
    dataset=dict(
        ann_file='list.txt', data_prefix=dict(video='videos'), pipeline=[dict(type='A')]
    ),
    loss_scale='dynamic',
    imports=['a', 'b'],
    batch_size=8,
    img_size=224,
    save_best='acc/top1',
    val_cfg=dict(type='ValLoop'),
)


@pytest.mark.parametrize(
    ('key', 'text', 'value'),
    [
        # Text stays text: blanks, commas, digits, brackets.
        ('dataset.data_prefix.video', 'my  clips', 'my  clips'),
        ('dataset.data_prefix.video', 'a, b', 'a, b'),
        ('dataset.data_prefix.video', '2024', '2024'),
        ('dataset.data_prefix.video', '[old', '[old'),
        ('dataset.data_prefix.video', '[old]', '[old]'),
        ('dataset.data_prefix.img', '007', '007'),  # the config has no such key
        ('dataset.ann_file', "'my list.txt'", 'my list.txt'),
        ('dataset.delimiter', ',', ','),
        ('dataset.delimiter', ' ', ' '),
        ('dataset.delimiter', r'\t', '\t'),
        ('dataset.pipeline.0.type', 'True', 'True'),
        ('load_from', '12', '12'),
        ('load_from', '~/x y.pth', str(Path.home() / 'x y.pth')),
        ('dataset.ann_file', '~/x', str(Path.home() / 'x')),
        ('imports', '[my module, 1]', ['my module', '1']),
        # All else is what it looks like.
        ('load_from', 'None', None),
        ('dataset.ann_file', 'None', None),
        ('val_cfg', 'None', None),
        ('optimizer.lr', '1e-3', 1e-3),
        ('optimizer.betas', '0.9, 0.99', [0.9, 0.99]),
        ('optimizer.betas', '(0.9,0.99)', (0.9, 0.99)),
        ('optimizer.betas', '(0.9,)', (0.9,)),
        ('optimizer.fused', 'false', False),
        ('img_size', '[128,224]', [128, 224]),
        ('loss_scale', '512.', 512.0),
        ('save_best', '[acc/top1,acc/mean1]', ['acc/top1', 'acc/mean1']),
        ('new.value', 'one two', 'one two'),
        ('new.value', '[(1,2),[a b,c],"d"]', [(1, 2), ['a b', 'c'], 'd']),
        ('new.value', '(1,2),(3,4)', [(1, 2), (3, 4)]),
        ('new.value', 'clip (1', 'clip (1'),
        ('new.value', '', ''),
        ('new.value', '[]', []),
    ],
)
def test_values(key, text, value):
    parsed = parse_options(CONFIG, {key: text})[key]
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize(
    ('key', 'text', 'message'),
    [
        (
            'optimizer.lr',
            '1e-3*2',
            r"expected a number, .*\(0.1\), got '1e-3\*2'; writ",
        ),
        ('optimizer.lr', '1e-3,2e-3', 'expected a number'),
        ('batch_size', '[8]', r'expected a number, as in the config \(8\)'),
        ('val_cfg.type', '[ValLoop]', 'expected one name'),
        ('optimizer.fused', 'ture', 'expected True or False'),
        ('optimizer.betas', '[0.9,0.95', r"as many brackets .* got '\[0.9,0.95'"),
        ('optimizer.betas', '[0.9,(0.95]', 'as many brackets'),
        ('new.value', '1),(2', 'as many brackets'),
    ],
)
def test_values_that_cannot_be_meant(key, text, message):
    with pytest.raises(ValueError, match=f'^--cfg-options: {key}: .*{message}'):
        parse_options(CONFIG, {key: text})


def test_folder_with_a_blank_is_not_another_one(toy, tmp_path, capsys):
    """Blanks were dropped, and a folder of that name was used."""
    (tmp_path / 'myclips').mkdir()
    options = {'train_dataloader.dataset.data_prefix.video': tmp_path / 'my clips'}
    with pytest.raises(SystemExit):
        run_tool('train', toy, f'--work-dir={tmp_path}', **options)
    (line,) = capsys.readouterr().err.splitlines()
    assert f'not found: {tmp_path}/my clips' in line


def test_home_folder(toy):
    home = str(Path.home())
    args = load_tool('train').parse_args([str(toy), '--work-dir=~/run'])
    assert launch.load_config(args).work_dir == f'{home}/run'


def test_modules_named_by_an_option_are_imported(toy, tmp_path, monkeypatch):
    """MMEngine imports those of the file only."""
    (tmp_path / 'named_by_an_option.py').touch()
    monkeypatch.syspath_prepend(tmp_path)
    options = ['--cfg-options', 'custom_imports.imports=[named_by_an_option]']
    launch.load_config(load_tool('train').parse_args([str(toy), *options]))
    assert sys.modules.pop('named_by_an_option')
