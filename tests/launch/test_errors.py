"""Errors on the command line."""

import sys

import pytest
import torch

from projects.adamae import launch
from tests.helpers import load_tool, run_command, run_tool


@pytest.mark.parametrize(
    ('command', 'options', 'message'),
    [
        ('train nowhere.py', {}, 'config not found: nowhere.py'),
        ('train demo/motion_pretain', {}, 'did you mean demo/motion_pretrain?'),
        ('train {toy}', {'model': None}, 'expected model, train_dataloader, '),
        ('train {toy} --resume no.pth', {}, 'checkpoint not found: no.pth'),
        ('train {toy} --launcher slurm', {}, 'SLURM_NTASKS'),
        ('train {toy}', {'compile': 1}, 'arguments of torch.compile'),
        ('train {toy}', {'train_dataloader.dataset.ann_file': 'no'}, 'ann_file'),
        (
            'train {toy}',
            {'train_dataloader.batch_size': 5, 'train_dataloader.drop_last': True},
            '4 videos do not make one batch of 5; lower it',
        ),
        ('test {toy} no.pth', {}, 'checkpoint not found: no.pth'),
        ('test {toy} {weights}', {'model.cls_head.num_classes': 1}, 'from 0 to 0, as'),
    ],
)
def test_errors_are_one_line(toy, tmp_path, capsys, command, options, message):
    weights = tmp_path / 'weights.pth'
    torch.save({}, weights)
    command = [part.format(toy=toy, weights=weights) for part in command.split()]
    options = options | {'work_dir': tmp_path}
    with pytest.raises(SystemExit) as exit_info:
        run_tool(*command, **options)
    assert exit_info.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    (line,) = (line for line in lines if line.startswith('error: '))
    assert message in line


def test_option_without_value(capsys):
    with pytest.raises(SystemExit) as exit_info:
        load_tool('train').parse_args(['toy.py', '--cfg-options', 'batch_size'])
    assert exit_info.value.code == 2
    assert "expected KEY=VALUE, got 'batch_size'" in capsys.readouterr().err


def test_names_of_other_people_do_not_make_a_second_line(capsys):
    with pytest.raises(SystemExit), launch.errors_in_one_line(ValueError):
        raise ValueError('a\nfake: line\x1b[2J of b.mp4')
    assert capsys.readouterr().err == 'error: a fake: line\\x1b[2J of b.mp4\n'


@pytest.mark.parametrize(
    ('advice', 'text'), [({}, 'stopped'), ({'interrupted': 'go on'}, 'stopped; go on')]
)
def test_ctrl_c_is_one_line(capsys, advice, text):
    with (
        pytest.raises(SystemExit) as exit_info,
        launch.errors_in_one_line(ValueError, **advice),
    ):
        raise KeyboardInterrupt
    assert exit_info.value.code == 130
    assert capsys.readouterr().err == f'\n{text}\n'


FAILS = """
import atexit, os, sys
from torch import distributed
from projects.adamae import launch

atexit.register(os.abort)  # as the threads of a process group may do
distributed.init_process_group(
    'gloo', init_method=f'file://{sys.argv[1]}', rank=0, world_size=1
)
with launch.errors_in_one_line(ValueError):
    raise ValueError('missing')
"""


def test_threads_of_a_process_group_do_not_change_the_exit_code(tmp_path):
    done = run_command(sys.executable, '-c', FAILS, tmp_path / 'store')
    assert (done.returncode, done.stderr) == (2, 'error: missing\n')
