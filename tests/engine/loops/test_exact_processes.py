"""Several processes, killed and resumed, against several that are not."""

import os
import subprocess
import sys
import time

import pytest
from fault_runs import kill_tree, wait_for_end

from tests.engine.loops.test_exact_resume import assert_same, make_config  # noqa: F401
from tests.helpers import ROOT, run_command

TRAIN = ROOT / 'tools/dist_train.sh'
WORKERS = 'train_dataloader.update(num_workers=1, batch_size=1)\n'


def newest(folder):
    numbers = [int(path.stem[5:]) for path in folder.glob('iter_*.pth')]
    return max(numbers, default=0)


def kill_after(iteration, *command):
    """Kill all processes of a run once it has saved that iteration."""
    process = subprocess.Popen(
        [str(part) for part in command],
        env={**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'},
    )
    folder = command[command.index('--work-dir') + 1]
    while newest(folder) < iteration:
        assert process.poll() is None
        time.sleep(0.01)
    pids = kill_tree(process.pid)
    process.wait()
    wait_for_end(pids)


@pytest.mark.slow
@pytest.mark.parametrize('processes', [2, 3])
def test_killed_processes_end_in_the_same_weights(
    make_config,  # noqa: F811
    tmp_path,
    processes,
):
    config = make_config(f'processes_{processes}', WORKERS)

    def command(name):
        return TRAIN, config, processes, '--work-dir', tmp_path / name, '--resume'

    assert run_command(*command('whole'), OMP_NUM_THREADS='1').returncode == 0
    for iteration in (2, 5):
        kill_after(iteration, *command('killed'))
    assert run_command(*command('killed'), OMP_NUM_THREADS='1').returncode == 0
    last = newest(tmp_path / 'whole')
    for part in ('whole', 'killed'):
        assert newest(tmp_path / part) == last
    assert_same(*(tmp_path / part / f'iter_{last}.pth' for part in ('whole', 'killed')))


@pytest.mark.slow
def test_another_number_of_processes_goes_on_at_the_same_video(make_config, tmp_path):  # noqa: F811
    config = make_config('other_processes', WORKERS)
    first = TRAIN, config, 2, '--work-dir', tmp_path / 'two'
    assert run_command(*first).returncode == 0
    # Of 7 videos, two processes take 8, and have taken 4 of the second epoch's.
    resume = ROOT / 'tools/train.py', config, '--work-dir', tmp_path / 'one'
    resume += '--resume', tmp_path / 'two/iter_6.pth'
    result = run_command(*resume)
    assert result.returncode == 0
    assert 'videos per iteration 2 -> 1 (the data goes on where it was' in result.stdout
    assert 'iterations per epoch 4 -> 7' in result.stdout
    assert newest(tmp_path / 'one') == 21
    saved = sorted(int(p.stem[5:]) for p in (tmp_path / 'one').glob('iter_*.pth'))
    assert saved[0] == 7 + 4 + 1
