"""Whole runs: train, resume, test."""

import pytest
import torch
from mmengine.fileio import load

from tests.helpers import ROOT, free_port, run_command, run_tool


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


@pytest.mark.parametrize(
    ('bias', 'options', 'message'),
    [
        (float('inf'), {}, 'cls_head.fc_cls.bias: not finite'),
        (
            0.0,
            {'model.backbone.embed_dims': 32, 'model.cls_head.in_channels': 32},
            'changed.pth does not fit the Recognizer3D',
        ),
    ],
)
def test_weights_that_cannot_be_used(
    toy, trained, tmp_path, capsys, bias, options, message
):
    content = torch.load(toy.parent / 'run/epoch_1.pth')
    content['state_dict']['cls_head.fc_cls.bias'][0] = bias
    torch.save(content, tmp_path / 'changed.pth')
    with pytest.raises(SystemExit) as exit_info:
        run_tool(
            'test', toy, tmp_path / 'changed.pth', f'--work-dir={tmp_path}', **options
        )
    assert exit_info.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith('error: ') and message in line


@pytest.mark.slow
def test_dist_test_agrees_with_one_process(toy, trained, capsys):
    checkpoint = toy.parent / 'run/epoch_1.pth'
    work_dir = f'--work-dir={toy.parent / "dist_test"}'
    # A port and a node of its own: the way of runs over several machines.
    env = dict(PORT=free_port(), MASTER_ADDR='127.0.0.1', NODE_RANK='0')
    script = ROOT / 'tools/dist_test.sh'
    two = run_command(script, toy, checkpoint, 2, work_dir, **env)
    run_tool('test', toy, checkpoint, work_dir)

    def accuracy(output):
        return output.split('acc/top1: ')[1].split()[0]

    assert accuracy(two.stdout) == accuracy(capsys.readouterr().out)
