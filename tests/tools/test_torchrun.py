"""What is seen of a run on several processes that fails."""

import signal

import pytest

from projects.adamae import launch
from projects.adamae.engine.hooks import StopOnSignalHook
from projects.adamae.launch import errors
from tests.helpers import ROOT, free_port, run_command

FAIL = """
import os, sys, time
if os.environ['LOCAL_RANK'] == '0':
    print('error: no such config', file=sys.stderr)
    raise SystemExit({code})
time.sleep(100)
"""


DIE = """
import os, signal, time
if os.environ['TORCHELASTIC_RESTART_COUNT'] == '0':
    if os.environ['LOCAL_RANK'] == '1':
        os.kill(os.getpid(), signal.SIGKILL)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(2))
    time.sleep(100)
"""


def test_a_lost_connection_that_is_reported_does_not_keep_from_a_restart(tmp_path):
    script = tmp_path / 'die.py'
    script.write_text(DIE)
    processes = ('--standalone', '--nproc-per-node=2', '--max-restarts=1')
    done = run_command(ROOT / 'tools/_torchrun.py', *processes, script)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('code', [2, 3])
def test_nothing_follows_an_error_that_was_reported(code, tmp_path):
    script = tmp_path / 'fail.py'
    script.write_text(FAIL.format(code=code))
    processes = ['--standalone', '--nproc-per-node=2']
    if code == 2:  # nor is it repeated
        processes.append('--max-restarts=1')
    done = run_command(ROOT / 'tools/_torchrun.py', *processes, script)
    lines = done.stderr.splitlines()
    if code == 2:
        assert (done.returncode, lines) == (2, ['error: no such config'])
    else:
        assert done.returncode == 1 and 'exitcode  : 3' in done.stderr


def test_others_wait_until_the_first_has_reported(monkeypatch, capsys, request):
    """A launcher stops all processes when one ends, the first among them."""
    slept = []

    def sleep(seconds):
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        slept.append(seconds)

    monkeypatch.setattr(errors.time, 'sleep', sleep)
    previous = signal.signal(signal.SIGTERM, lambda *_: None)
    request.addfinalizer(lambda: signal.signal(signal.SIGTERM, previous))
    for rank in ('0', '1'):
        monkeypatch.setenv('SLURM_PROCID', '9')
        monkeypatch.setenv('SLURM_LOCALID', rank)
        with pytest.raises(SystemExit), launch.errors_in_one_line(ValueError):
            raise ValueError('missing')
        assert len(slept) == int(rank)
        # Who is still there then has an error of its own.
        assert capsys.readouterr().err == 'error: missing\n'
    hook = StopOnSignalHook()
    hook._receive(signal.SIGTERM, None)
    signal.signal(signal.SIGTERM, hook._receive)
    with pytest.raises(SystemExit), launch.errors_in_one_line(ValueError):
        raise ValueError('missing')
    assert len(slept) == 1


@pytest.mark.slow
@pytest.mark.parametrize('rank', ['0', '1'])
def test_machine_that_never_comes(rank, tmp_path):
    done = run_command(
        *(ROOT / 'tools/dist_train.sh', tmp_path / 'toy.py', 1),
        **dict(NNODES='2', NODE_RANK=rank, MASTER_ADDR='127.0.0.1', PORT=free_port()),
        SECONDS_TO_MEET='2',
    )
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert last.startswith('error: expected the launchers of all machines to meet')
