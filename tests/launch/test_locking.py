"""One run in a work folder, and a job that is started again."""

import fcntl
import os
import subprocess
import sys
from argparse import Namespace

import pytest
import torch
from mmengine.config import Config

from projects.adamae.launch import apply_train_arguments, lock_work_dir, locking
from projects.adamae.launch.configs import TRAINING_KEYS

HOLD = """
import fcntl, sys
file = open(sys.argv[1], 'r+')
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
print('locked', flush=True)
sys.stdin.read()
"""


@pytest.fixture
def cfg(tmp_path):
    """Of a run that has locked its folder once."""
    parts = {key: dict() for key in TRAINING_KEYS}
    cfg = Config(dict(parts, work_dir=str(tmp_path / 'run')))
    lock_work_dir(cfg)
    locking._held.popitem()[1].close()
    return cfg


def test_two_runs_do_not_share_a_folder(cfg):
    path = os.path.join(cfg.work_dir, 'run.lock')
    command = [sys.executable, '-c', HOLD, path]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with subprocess.Popen(command, **pipes) as holder:
        holder.stdout.readline()
        with pytest.raises(ValueError, match=rf'got that of process {os.getpid()} on '):
            lock_work_dir(cfg)
        holder.kill()
    lock_work_dir(cfg)  # freed by the kernel
    locking.first_start(cfg)
    lock_work_dir(cfg)  # it has it
    # ... and reading the file has not given it away.
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    assert b'BlockingIOError' in done.stderr


def test_other_processes_of_a_run_do_not_lock(monkeypatch, tmp_path):
    monkeypatch.setenv('RANK', '1')
    lock_work_dir(Config(dict(work_dir=str(tmp_path / 'run'))))
    assert not (tmp_path / 'run').exists()


def test_file_system_without_locks(monkeypatch, cfg, warned):
    def refuse(*_):
        raise OSError(locking.errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'lockf', refuse)
    lock_work_dir(cfg)
    assert 'has no locks' in warned[0]


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match='work_dir: expected a folder to write to'):
        lock_work_dir(Config(dict(work_dir=str(tmp_path / 'file' / 'run'))))


def save(cfg, name, date):
    path = os.path.join(cfg.work_dir, name)
    meta = dict(iter=3, time=date)
    torch.save(dict(meta=meta, message_hub={}, optimizer={}, state_dict={}), path)
    return path


@pytest.mark.parametrize('launcher', ['TORCHELASTIC', 'SLURM'])
@pytest.mark.parametrize('start', ['overwrite', 'resume', 'neither'])
def test_restarted_job_goes_on_from_what_it_saved(monkeypatch, cfg, launcher, start):
    """Not from what lay there before its first start, or what that was to resume."""
    old = save(cfg, 'epoch_9.pth', '20000101_000000')
    args = Namespace(
        **dict(config='x.py', resume=None, overwrite=start == 'overwrite', seed=None),
        **dict.fromkeys(('no_validate', 'amp', 'auto_scale_lr'), False),
        **dict.fromkeys(('diff_rank_seed', 'deterministic'), False),
    )
    if start == 'resume':
        args.resume = old
    monkeypatch.setenv(f'{launcher}_RESTART_COUNT', '1')
    lock_work_dir(cfg)
    if start == 'neither':
        with pytest.raises(ValueError, match='expected a folder without checkpoints'):
            apply_train_arguments(Config(cfg.to_dict()), args)
    else:
        apply_train_arguments(cfg, args)
        assert cfg.get('load_from') == (old if start == 'resume' else None)
        assert bool(cfg.resume) == (start == 'resume')
    new = save(cfg, 'iter_3.pth', '29990101_000000')
    apply_train_arguments(cfg, args)
    assert cfg.resume and cfg.load_from == new
