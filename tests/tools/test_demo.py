"""The demo, end to end, at a size that shows only that it runs."""

import pytest

from tests.helpers import ROOT, run_command


@pytest.mark.slow
def test_demo_runs_and_reuses_what_is_there(tmp_path):
    command = [ROOT / 'tools/demo.py', '--num-train=64', '--num-val=25']
    command += ['--pretrain-epochs=3', '--finetune-epochs=2']
    command += [f'--data={tmp_path / "data"}', f'--out={tmp_path / "out"}']
    for expected in ('wrote 89 of 89 videos', 'already there'):
        done = run_command(*command, timeout=3600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert expected in done.stdout
        assert 'top-1' in done.stdout and '(chance: 12.5%' in done.stdout
    assert len([*(tmp_path / 'out/pictures').glob('*.png')]) == 4
