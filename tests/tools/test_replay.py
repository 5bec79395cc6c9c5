"""A run that is stopped by a bad number, and its step repeated elsewhere."""

import os
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config

from projects.adamae.checkpoints.io import load_safely
from tests.helpers import (
    ROOT,
    run_command,
    run_tool,
    start_pair,
    tiny_model_cfg,
    write_videos,
)

# Spoils the batch of one process in one iteration, as no file could.
SPOIL = """
from mmaction.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook

@HOOKS.register_module()
class Spoil(Hook):
    def __init__(self, rank, iteration):
        self.where = rank, iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if (get_rank(), runner.iter + 1) == self.where:
            clip = data_batch['inputs'][1].float()
            data_batch['inputs'] = [clip * float('nan'), clip]
"""


def run_cfg(root, work_dir, rank, iteration):
    pipeline = [
        dict(type='PyAVSkipInit'),
        dict(type='RepeatLastSampleFrames', clip_len=8),
        dict(type='PyAVSkipDecode'),
        dict(type='Resize', scale=(16, 16), keep_ratio=False),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs', meta_keys=('filename',)),
    ]
    base = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py').to_dict()
    base['custom_imports']['imports'] += ['spoil']
    base['custom_hooks'] += [dict(type='Spoil', rank=rank, iteration=iteration)]
    base['default_hooks']['checkpoint'] = dict(type='CheckpointHook', interval=1)
    return Config(
        dict(
            **base,
            work_dir=str(work_dir),
            model=tiny_model_cfg(),
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=dict(
                    type='TolerantVideoDataset',
                    ann_file=str(root / 'train.txt'),
                    data_prefix=dict(video=str(root / 'videos')),
                    pipeline=pipeline,
                ),
            ),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=3),
            optim_wrapper=dict(
                type='OptimWrapper',
                optimizer=dict(type='AdamW', lr=1e-3, fused=True),
            ),
        )
    )


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """Videos, and the module that spoils a batch."""
    lines = write_videos(tmp_path / 'videos', count=8, frames=8)
    (tmp_path / 'train.txt').write_text('\n'.join(lines))
    (tmp_path / 'spoil.py').write_text(SPOIL)
    monkeypatch.setenv('PYTHONPATH', f'{ROOT}{os.pathsep}{tmp_path}')
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def check_report(folder, name, line):
    """The line names it, it has the weights of the last checkpoint, it repeats."""
    (path,) = (folder / 'work').glob('fault_*')
    assert path.name == name and str(path) in line
    report = load_safely(path)
    assert all(name in line for name in report['paths'])
    last = load_safely(folder / 'work/epoch_1.pth')
    assert not (folder / 'work/epoch_2.pth').exists()
    for name, weight in last['state_dict'].items():
        assert torch.equal(weight, report['state_dict'][name]), 'before the bad step'

    # On a machine that has neither videos nor work folder.
    (folder / 'videos').rename(folder / 'gone')
    result = run_command(
        *(ROOT / 'tools/replay.py', folder / 'cfg.py', path),
        cwd=folder,
        PYTHONPATH=os.environ['PYTHONPATH'],
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'bit for bit as in the run: yes' in result.stdout
    assert 'loss_reconstruction: nan' in result.stdout


def test_the_step_is_repeated_bit_for_bit_in_another_process(run_folder, capsys):
    cfg = run_cfg(run_folder, run_folder / 'work', rank=0, iteration=5)
    cfg.dump(run_folder / 'cfg.py')
    with pytest.raises(SystemExit) as stop:
        run_tool('train', run_folder / 'cfg.py')
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith('error: iteration 5, rank 0: ')
    check_report(run_folder, 'fault_iter_5_rank_0.pth', line)


@pytest.mark.slow
def test_the_process_with_the_bad_batch_is_named(run_folder):
    run_cfg(run_folder, run_folder / 'work', rank=1, iteration=3).dump(
        run_folder / 'cfg.py'
    )
    command = [sys.executable, '-W', 'ignore', ROOT / 'tools/train.py']
    command += [run_folder / 'cfg.py', '--launcher', 'pytorch']
    processes = start_pair(command, stderr=subprocess.PIPE)
    # The second leaves the message to the first, for a launcher to end it then.
    errors = processes[0].communicate(timeout=180)[1]
    processes[1].kill()
    processes[1].communicate()
    assert processes[0].returncode == 2 and 'Traceback' not in errors, errors
    (line,) = [line for line in errors.splitlines() if line.startswith('error: ')]
    assert 'iteration 3, rank 1: the ' in line and 'rank 0' not in line
    check_report(run_folder, 'fault_iter_3_rank_1.pth', line)


def test_what_is_no_report_is_one_line(tmp_path, capsys):
    torch.save(dict(state_dict={}), tmp_path / 'epoch_1.pth')
    for name, text in (('epoch_1.pth', 'expected a report'), ('none', 'not found')):
        with pytest.raises(SystemExit) as stop:
            run_tool('replay', 'cfg.py', tmp_path / name)
        assert stop.value.code == 2 and text in capsys.readouterr().err
