"""Real runs of half a minute: planted faults are found, a healthy run has none."""

import pytest

from tests.helpers import ROOT, run_command


@pytest.mark.slow
def test_planted_faults_and_a_healthy_run(tmp_path):
    names = 'healthy_random_0', '03_target_code', '06_static', '12_ratio'
    done = run_command(
        ROOT / 'tools/benchmarks/doctor_check.py',
        *('--out', tmp_path, '--only', *names),
        OMP_NUM_THREADS='1',
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    assert '| none |' in done.stdout
    assert 'not found' not in done.stdout
