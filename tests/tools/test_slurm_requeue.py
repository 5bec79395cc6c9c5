"""Jobs of Slurm that go on after their time limit."""

import os
import signal
import subprocess

import pytest

from tests.helpers import ROOT, run_command

SAVED = 128 + signal.SIGUSR1
# Ends with the next of the codes; says what it was given.
SRUN = """#!/usr/bin/env bash
read -r code < codes.txt
sed -i 1d codes.txt
echo "start ${SLURM_RESTART_COUNT:-0} ${@: -2}"
exit "$code"
"""
SCONTROL = '#!/usr/bin/env bash\necho scontrol "$@"\n'


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    for name, source in dict(srun=SRUN, scontrol=SCONTROL).items():
        (tmp_path / name).write_text(source)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    monkeypatch.delenv('SLURM_JOB_ID', raising=False)

    def start(*codes, tool='train', **env):
        (tmp_path / 'codes.txt').write_text('\n'.join(map(str, codes)) + '\n')
        arguments = ('gpu', 'job', 'toy.py', *(['x.pth'] if tool == 'test' else []))
        script = ROOT / f'tools/slurm_{tool}.sh'
        return run_command(script, *arguments, cwd=tmp_path, **env)

    return start


def test_saved_run_is_started_again_until_it_ends(slurm):
    done = slurm(SAVED, SAVED, 0)
    assert done.returncode == 0
    starts = [f'start {count} --launcher slurm' for count in range(3)]
    assert done.stdout.splitlines() == starts


@pytest.mark.parametrize('code', [2, 143, 130])
def test_other_ends_are_final(slurm, code):
    done = slurm(code)
    assert done.returncode == code and done.stdout.count('start') == 1


def test_batch_job_is_requeued(slurm):
    done = slurm(SAVED, SLURM_JOB_ID='77', SLURM_RESTART_COUNT='3')
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        'start 3 --launcher slurm',
        'scontrol requeue 77',
    ]


def test_signals_reach_srun(slurm, tmp_path):
    slurm(0)
    (tmp_path / 'srun').write_text(
        '#!/usr/bin/env bash\ntrap "exit 143" TERM\necho up\n'
        'while true; do sleep 0.1; done\n'
    )
    command = [str(ROOT / 'tools/slurm_train.sh'), 'gpu', 'job', 'toy.py']
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.terminate()
        assert process.wait(60) == 143
