"""Whole runs: train, resume, test."""

import pytest
import torch
from mmengine.fileio import load

from tests.helpers import ROOT, run_command, run_tool


@pytest.fixture(scope='module')
def trained(toy):
    """Two processes train and validate for an epoch, started from elsewhere."""
    modules = toy.parent / 'modules'
    modules.mkdir()
    (modules / 'my_module.py').write_text('')
    result = run_command(
        *(ROOT / 'tools/dist_train.sh', '../toy.py', 2),
        *('--work-dir', toy.parent / 'run', '--cfg-options'),
        'custom_imports.imports=[my_module,projects.adamae]',
        cwd=modules,
        PYTHONPATH=str(modules),  # the script adds the project's
    )
    assert result.returncode == 0, result.stderr
    return result


def test_two_processes_train_and_validate_without_gpu(toy, trained):
    assert 'Epoch(train) [1][2/2]' in trained.stdout  # 4 videos on 2 processes
    assert 'Epoch(val) [1][2/2]' in trained.stdout
    assert trained.stdout.count('training in full precision') == 1
    assert (toy.parent / 'run/epoch_1.pth').is_file()


def test_run_is_resumed_and_tested(toy, trained, capsys):
    work_dir, dump = toy.parent / 'run', toy.parent / 'results.pkl'
    options = {'train_cfg.max_epochs': 2}
    run_tool('train', toy, '--work-dir', work_dir, '--resume', **options)
    assert 'resumed epoch: 1' in capsys.readouterr().out
    last = work_dir / 'epoch_2.pth'
    assert torch.load(last)['meta']['epoch'] == 2
    run_tool('test', toy, last, '--work-dir', work_dir, '--dump', dump)
    assert 'acc/top1' in capsys.readouterr().out
    assert len(load(dump)) == 4


def test_weights_that_cannot_be_used(toy, trained, tmp_path, capsys):
    content = torch.load(toy.parent / 'run/epoch_1.pth')
    content['state_dict']['cls_head.fc_cls.bias'][0] = float('inf')
    torch.save(content, tmp_path / 'changed.pth')
    with pytest.raises(SystemExit) as exit_info:
        run_tool('test', toy, tmp_path / 'changed.pth', f'--work-dir={tmp_path}')
    assert exit_info.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith('error: ') and 'cls_head.fc_cls.bias: not finite' in line
