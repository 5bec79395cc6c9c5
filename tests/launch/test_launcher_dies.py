"""What becomes of the processes of a launcher that is killed."""

import subprocess
import sys

import pytest

from tests.helpers import ROOT

RANK = """
import os, sys, time
from projects.adamae_process import end_on_signals, end_with_launcher
end_on_signals()
end_with_launcher()
print('ready', flush=True)
time.sleep(1000)
"""
LAUNCHER = """
import os, subprocess, sys
from projects.adamae_process import LAUNCHER_PID
env = {**os.environ, 'TORCHELASTIC_RUN_ID': 'none', LAUNCHER_PID: str(os.getpid())}
subprocess.run([sys.executable, '-c', sys.argv[1]], env=env, start_new_session=True)
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='Linux only')
def test_they_are_told_to_stop():
    """In a session of their own, as torchrun's are."""
    command = [sys.executable, '-c', LAUNCHER, RANK]
    pipe = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with subprocess.Popen(command, cwd=ROOT, **pipe) as launcher:
        assert launcher.stdout.readline() == 'ready\n'
        launcher.kill()
        # It ends when the last that can write to it has ended.
        assert 'stopped by SIGTERM' in launcher.stdout.read()
