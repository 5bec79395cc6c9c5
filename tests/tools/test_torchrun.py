"""What is seen of a run on several processes that fails."""

import os
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


@pytest.mark.parametrize('code', [2, 3])
def test_nothing_follows_an_error_that_was_reported(code, tmp_path):
    script = tmp_path / 'fail.py'
    script.write_text(FAIL.format(code=code))
    processes = ('--standalone', '--nproc-per-node=2')
    done = run_command(ROOT / 'tools/_torchrun.py', *processes, script)
    lines = done.stderr.splitlines()
    if code == 2:
        assert (done.returncode, lines) == (2, ['error: no such config'])
    else:
        assert done.returncode == 1 and 'exitcode  : 3' in done.stderr


DIE = """
import os, signal, time
if os.environ['TORCHELASTIC_RESTART_COUNT'] == '0':
    if os.environ['LOCAL_RANK'] == '1':
        time.sleep(2)
        os.kill(os.getpid(), signal.SIGKILL)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(2))
    time.sleep(100)
"""


def test_restarts_where_others_report_that_one_has_died(tmp_path):
    """As of a lost connection, which is no mistake of the user."""
    script = tmp_path / 'die.py'
    script.write_text(DIE)
    options = ('--standalone', '--nproc-per-node=2', '--max-restarts=1')
    assert run_command(ROOT / 'tools/_torchrun.py', *options, script).returncode == 0


def test_name_of_the_machine_need_not_have_an_address(tmp_path):
    """As in some containers, where the processes would wait for each other."""
    name = 'import socket\nsocket.getfqdn = lambda *_: "name.invalid"'
    (tmp_path / 'sitecustomize.py').write_text(name)
    script = tmp_path / 'show.py'
    script.write_text('import os\nprint(os.environ["MASTER_ADDR"])')
    tool = os.path.relpath(script, ROOT / 'tools')
    shown = run_command(ROOT / 'tools/_dist.sh', tool, 1, PYTHONPATH=str(tmp_path))
    assert shown.stdout == 'localhost\n'


def test_others_wait_until_the_first_has_reported(monkeypatch, capsys):
    """A launcher stops all processes when one ends, the first among them."""
    slept = []
    monkeypatch.setattr(errors.time, 'sleep', slept.append)
    for rank in ('0', '1'):
        monkeypatch.setenv('SLURM_PROCID', '9')
        monkeypatch.setenv('SLURM_LOCALID', rank)
        with pytest.raises(SystemExit), launch.errors_in_one_line(ValueError):
            raise ValueError('missing')
        assert len(slept) == int(rank)
        # Who is still there then has an error of its own.
        assert capsys.readouterr().err == 'error: missing\n'


@pytest.mark.parametrize('told_before', [False, True])
def test_a_process_that_has_failed_stops_at_once(told_before, monkeypatch, capsys):
    """Its signals are those of training, which obeys after a step."""
    monkeypatch.setenv('RANK', '1')
    monkeypatch.setenv('LOCAL_RANK', '1')
    left = []
    monkeypatch.setattr(
        errors.time, 'sleep', lambda _: left.append(signal.getsignal(signal.SIGTERM))
    )
    hook, before = StopOnSignalHook(), signal.getsignal(signal.SIGTERM)
    hook.before_train(None)
    try:
        with pytest.raises(SystemExit), launch.errors_in_one_line(ValueError):
            if told_before:
                signal.raise_signal(signal.SIGTERM)
            raise ValueError('missing')
    finally:
        signal.signal(signal.SIGTERM, before)
        hook.after_train(None)
    assert left == ([] if told_before else [signal.SIG_DFL])
    assert capsys.readouterr().err == ('' if told_before else 'error: missing\n')


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
