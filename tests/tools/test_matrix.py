"""tools/matrix.py: what a row installs and says, without what takes minutes."""

import json
import re
import sys

import pytest

from tests.helpers import ROOT, load_tool

matrix = load_tool('matrix')


@pytest.mark.parametrize('row', matrix.ROWS, ids=lambda row: row.name)
def test_a_row_installs_each_package_once(row):
    names = [re.split('[=;]', pin)[0] for pin in matrix.constraints(row)]
    names = [name.lower().replace('_', '-') for name in names]
    assert len(names) == len({*names}) > 50
    found = matrix.requirements(row)
    assert 'torch' not in found and 'mmaction2' not in found
    # Packages that hold the same modules never meet.
    for group in (('decord', 'decord2'), ('mmcv', 'mmcv-lite', 'onedl-mmcv')):
        assert len({*group} & {*found}) == 1
    # All is pinned, but for what the project has no exact version of on 3.10.
    assert {name.lower() for name in found} <= {*names}


def test_tests_of_a_row_are_there():
    # Tests of exports are skipped without these.
    there = {*matrix.requirements(matrix.ROWS[0])}
    assert {'onnx', 'onnxruntime', 'onnxscript'} <= there
    assert all((ROOT / test).is_file() for test in matrix.TESTS)


def test_oldest_row_is_the_lower_end_of_the_ranges():
    lines = (ROOT / 'requirements/runtime.txt').read_text('utf-8').splitlines()
    lower = dict(re.findall(r'^([\w-]+)>=([\d.]+)', '\n'.join(lines), re.MULTILINE))
    (row,) = (row for row in matrix.ROWS if row.name == 'oldest')
    for name in ('torch', 'torchvision', 'mmengine', 'numpy'):
        assert f'{row.pins[name]}.'.startswith(f'{lower[name]}.')


def test_table_shows_results_or_pins():
    found = {
        'pinned': {
            'result': 'failed',
            'reason': 'E   a | b',
            'versions': {'python': '3.11.7', 'torch': '2.13.0+cpu', 'decord': '0.6.0'},
            'date': '2026-01-01',
        }
    }
    lines = matrix.table(found).splitlines()
    assert len(lines) == len(matrix.ROWS) + 2
    assert lines[2].startswith('| pinned | failed: E a \\| b | 3.11.7 | 2.13.0+cpu |')
    assert lines[2].endswith('| 2026-01-01 |')
    assert (
        '| oldest | not run | 3.10 | 2.7.0 | 1.26.4 | mmcv-lite 2.0.0 | 0.10.6 |'
        in lines[-1]
    )


def test_an_interpreter_that_is_missing_is_no_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(matrix, 'UV', (sys.executable, '-c', 'exit("error: none")'))
    env = matrix.Environment(tmp_path, tmp_path / 'row.log')
    with pytest.raises(matrix.NotRunError, match=r'no Python 3.11 here \(error: none'):
        matrix.make_environment(matrix.ROWS[0], env)


def test_a_failure_is_its_first_error(tmp_path):
    env = matrix.Environment(tmp_path / 'env', tmp_path / 'row.log')
    assert env.run(sys.executable, '-c', 'print(1)') == '1\n'
    code = 'print("fine"); raise ValueError("this\\nand that")'
    with pytest.raises(matrix.StepError, match='^ValueError: this$'):
        env.run(sys.executable, '-c', code)
    with pytest.raises(matrix.StepError, match='^KeyError: 1$'):  # as pytest prints it
        env.run(sys.executable, '-c', 'print("E   KeyError: 1"); exit(1)')
    assert 'and that' in env.log.read_text()


def test_a_row_is_measured_once_and_cleaned_up(tmp_path, monkeypatch, capsys):
    rows = matrix.ROWS[:2]
    done = []

    def install(row, env, allow_cuda):
        done.append(row.name)
        if row == rows[1]:
            raise matrix.NotRunError('no build for CPUs')

    monkeypatch.setattr(matrix, 'ROWS', rows)
    monkeypatch.setattr(matrix, 'install', install)
    monkeypatch.setattr(matrix, 'installed_versions', lambda env: {'torch': '2'})
    monkeypatch.setattr(matrix.Environment, 'run', lambda *_: '\n3 passed in 1s\n')
    for _ in range(2):
        matrix.main(['--out', str(tmp_path)])
    assert done == ['pinned', 'numpy1', 'numpy1']
    table = capsys.readouterr().out
    assert (
        '| pinned | 3 passed |' in table and '| not run: no build for CPUs |' in table
    )
    assert [path.name for path in tmp_path.iterdir()] == ['pinned.json']
    assert json.loads((tmp_path / 'pinned.json').read_text())['result'] == 'passed'
    matrix.main(['--out', str(tmp_path), 'pinned'])
    assert done[3:] == ['pinned']


def test_torch_that_brings_cuda_is_not_installed(tmp_path, monkeypatch):
    asked = []

    def pip(self, *arguments):
        asked.append(arguments)
        return ' + nvidia-cublas==13.1\n + torch==2.13.0\n'

    monkeypatch.setattr(matrix.Environment, 'pip', pip)
    env = matrix.Environment(tmp_path, tmp_path / 'row.log')
    with pytest.raises(matrix.NotRunError, match='torch==2.13.0'):
        matrix.install(matrix.ROWS[0], env, allow_cuda=False)
    assert '--dry-run' in asked[-1]
    matrix.install(matrix.ROWS[0], env, allow_cuda=True)
    assert ('torch==2.13.0',) in asked
