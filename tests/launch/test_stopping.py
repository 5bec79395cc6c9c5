"""Processes and launchers that are told to stop, die, and start again."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers import ROOT, fork_pair, free_port

# Of the log.
STEPS = 'Epoch(train)'


@pytest.fixture
def start(toy, tmp_path):
    """Start a long run of a launcher; ends what is left of it."""
    started = []

    def start(number_of_processes, *arguments, wait=STEPS, **env):
        tools, count = ROOT / 'tools', number_of_processes
        command = [sys.executable, tools / 'train.py', toy]
        if count > 1:
            command = [tools / 'dist_train.sh', toy, str(count)]
        options = ('train_cfg.max_epochs=100000', 'train_dataloader.num_workers=1')
        log = tmp_path / 'log.txt'
        arguments = ('--work-dir', tmp_path / 'run', *arguments)
        with open(log, 'a') as file:
            process = subprocess.Popen(
                [*map(str, (*command, *arguments, '--cfg-options', *options))],
                env=dict(
                    **{**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
                    **dict(PYTHON=sys.executable, PORT=free_port(), **env),
                ),
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(process)
        wait_for(lambda: wait in log.read_text() or process.poll() is not None)
        return process, log

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(condition, seconds=200):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


def ranks_of(launcher):
    """Process ids of the processes that a launcher has started."""
    path = f'/proc/{launcher.pid}/task/{launcher.pid}/children'
    with open(path) as file:
        return [int(pid) for pid in file.read().split()]


def test_all_processes_stop_after_the_same_step(toy, tmp_path):
    """One of two gets the signal."""
    # No data workers: see test_two_processes_share_the_videos_and_the_error.
    work_dir = tmp_path / 'run'
    options = {'train_cfg.max_epochs': 100000}
    processes = fork_pair(tmp_path, 'train', toy, '--work-dir', work_dir, **options)
    log = tmp_path / '0.txt'
    try:
        wait_for(lambda: log.exists() and STEPS in log.read_text())
        os.kill(processes[1].pid, signal.SIGUSR1)
        for process in processes:
            process.join(200)
            assert process.exitcode == 128 + signal.SIGUSR1, log.read_text()
    finally:
        for process in processes:
            process.kill()
    (saved,) = work_dir.glob('iter_*.pth')
    assert f'saved {saved}; go on with --resume' in log.read_text()
    for rank in '01':
        assert 'Traceback' not in (tmp_path / f'{rank}.txt').read_text()


@pytest.mark.slow
def test_launcher_passes_the_code_on(start, tmp_path):
    """Without a word; tests/tools/test_torchrun.py has that of errors."""
    process, log = start(2)
    os.kill(ranks_of(process)[1], signal.SIGUSR1)
    assert process.wait(200) == 128 + signal.SIGUSR1, log.read_text()
    (saved,) = (tmp_path / 'run').glob('iter_*.pth')
    text = log.read_text()
    assert f'saved {saved}; go on with --resume' in text.splitlines()[-1]
    assert 'Traceback' not in text


@pytest.mark.slow
@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT', 'SIGUSR1', 'SIGHUP'])
@pytest.mark.parametrize('processes', [1, 2])
def test_launcher_or_process_is_told_to_stop(start, tmp_path, name, processes):
    process, log = start(processes)
    process.send_signal(signal.Signals[name])
    assert process.wait(200) == 128 + signal.Signals[name], log.read_text()
    assert len([*(tmp_path / 'run').glob('iter_*.pth')]) == 1
    assert f'stopped by {name} after iteration' in log.read_text().splitlines()[-1]


@pytest.mark.slow
def test_processes_of_a_killed_launcher_save_and_end(start, tmp_path):
    process, log = start(2)
    ranks = ranks_of(process)
    process.kill()
    wait_for(lambda: not any(os.path.exists(f'/proc/{pid}') for pid in ranks))
    assert len([*(tmp_path / 'run').glob('iter_*.pth')]) == 1, log.read_text()


@pytest.mark.slow
def test_restarted_processes_resume(start, tmp_path):
    process, log = start(2, wait='Epoch(val) [2]', MAX_RESTARTS='1')
    os.kill(ranks_of(process)[1], signal.SIGKILL)
    wait_for(lambda: 'resumed epoch' in log.read_text() or process.poll() is not None)
    assert 'started again: going on from' in log.read_text()
    size = len(log.read_text())
    wait_for(lambda: STEPS in log.read_text()[size:])
    process.terminate()
    assert process.wait(200) == 143, log.read_text()


@pytest.mark.slow
def test_signal_while_a_run_begins(start, tmp_path):
    """By Python's or the kernel's handler, as far as it has come."""
    process, log = start(1, wait='')
    process.terminate()
    assert process.wait(100) in (143, -signal.SIGTERM)
    assert 'Traceback' not in log.read_text()
