"""Errors on the command line."""

import pytest
import torch

from tests.helpers import load_tool, run_tool


@pytest.mark.parametrize(
    ('name', 'arguments', 'options', 'message'),
    [
        ('train', ['nowhere.py'], {}, 'config not found: nowhere.py'),
        ('train', ['{toy}'], {'model': None}, 'expected model, train_dataloader, '),
        (
            'train',
            ['{toy}', '--resume', 'no.pth'],
            {},
            'checkpoint not found: no.pth',
        ),
        ('train', ['{toy}', '--launcher', 'slurm'], {}, 'SLURM_NTASKS'),
        ('train', ['{toy}'], {'compile': 1}, 'arguments of torch.compile'),
        ('train', ['{toy}'], {'train_dataloader.dataset.ann_file': 'no'}, 'ann_file'),
        ('test', ['{toy}', 'nowhere.pth'], {}, 'checkpoint not found: nowhere.pth'),
        (
            'test',
            ['{toy}', '{weights}'],
            {'model.cls_head.num_classes': 1},
            'expected a label from 0 to 0',
        ),
    ],
)
def test_errors_are_one_line(toy, tmp_path, capsys, name, arguments, options, message):
    weights = tmp_path / 'weights.pth'
    torch.save({}, weights)
    arguments = [part.format(toy=toy, weights=weights) for part in arguments]
    with pytest.raises(SystemExit) as exit_info:
        run_tool(name, *arguments, **options)
    assert exit_info.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ') and message in line


def test_option_without_value(capsys):
    with pytest.raises(SystemExit) as exit_info:
        load_tool('train').parse_args(['toy.py', '--cfg-options', 'batch_size'])
    assert exit_info.value.code == 2
    assert "expected KEY=VALUE, got 'batch_size'" in capsys.readouterr().err
