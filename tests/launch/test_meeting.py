"""Processes that wait for each other when a run begins."""

import os
import subprocess
import sys

import pytest

from projects.adamae.launch import distributed
from tests.helpers import ROOT, free_port

MEET = 'from projects.adamae.launch import distributed; distributed._meet()'


def start(rank, port, seconds, world=2):
    env = dict(os.environ, PYTHONPATH=str(ROOT), SECONDS_TO_MEET=str(seconds))
    env |= dict(RANK=str(rank), WORLD_SIZE=str(world))
    env |= dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
    env.pop('TORCHELASTIC_USE_AGENT_STORE', None)
    return subprocess.Popen(
        [sys.executable, '-c', MEET], env=env, stderr=subprocess.PIPE, text=True
    )


def test_the_first_never_comes(monkeypatch):
    place = dict(RANK='1', WORLD_SIZE='2', MASTER_ADDR='127.0.0.1', SECONDS_TO_MEET='0')
    for name, value in {**place, 'MASTER_PORT': free_port()}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TimeoutError, match='nothing came of process 0;'):
        distributed._meet()


@pytest.mark.slow
@pytest.mark.parametrize(('rank', 'missing'), [(0, '1'), (1, '0')])
def test_process_that_never_comes_is_named(rank, missing):
    _, error = start(rank, free_port(), 1).communicate(timeout=200)
    assert error.splitlines()[-1].startswith(
        'TimeoutError: expected 2 processes to meet at 127.0.0.1:'
    )
    assert f'within 1 seconds (SECONDS_TO_MEET) nothing came of process {missing};' in (
        error
    )


@pytest.mark.slow
def test_processes_meet():
    port = free_port()
    processes = [start(rank, port, 200) for rank in (1, 0)]
    assert [p.wait(250) for p in processes] == [0, 0]
