"""The tool that measures what faults cost."""

import copy

import fault_rows
import fault_runs
import faults
import pytest
import torch
from mmengine.logging import HistoryBuffer

CHECKPOINT = dict(
    meta=dict(cfg='a', time='b', experiment_name='c', mmengine_version='d', iter=3),
    message_hub=dict(
        log_scalars={'train/loss': HistoryBuffer([0.5], [1]), 'train/time': 3.0},
        runtime_info=dict(cfg='a'),
    ),
    state_dict=dict(weight=torch.ones(3)),
)


def change_nothing(checkpoint):
    checkpoint['meta']['time'] = 'later'
    checkpoint['message_hub']['log_scalars']['train/time'] = 4.0


def change_a_weight(checkpoint):
    checkpoint['state_dict']['weight'][1] = 1 + 2**-20


def change_the_log(checkpoint):
    checkpoint['message_hub']['log_scalars']['train/loss'].update(0.25)


def drop_a_weight(checkpoint):
    del checkpoint['state_dict']['weight']


@pytest.mark.parametrize(
    ('change', 'name'),
    [
        (change_nothing, None),
        (change_a_weight, 'weight'),
        (change_the_log, 'loss'),
        (drop_a_weight, 'parts'),
    ],
)
def test_the_part_that_differs_is_named(tmp_path, change, name):
    other = copy.deepcopy(CHECKPOINT)
    change(other)
    for path, content in (('a', CHECKPOINT), ('b', other)):
        torch.save(content, tmp_path / path)
    found = fault_runs.first_difference(tmp_path / 'a', tmp_path / 'b')
    assert found is None if name is None else name in found


def test_rows_are_measured_once_and_failures_told(tmp_path, monkeypatch, capsys):
    measured = []

    def good(folder):
        measured.append('good')
        return dict(times=len(measured), lost='nothing', seen='a | b')

    def bad(folder):
        raise RuntimeError('no such thing')

    rows = {'one': faults.ROWS['sigkill'], 'two': faults.ROWS['sigterm']}
    for name, measure in zip(rows, (good, bad), strict=True):
        rows[name] = fault_rows.Row(f'fault {name}', measure)
    monkeypatch.setattr(faults, 'ROWS', rows)
    for arguments in ((), ('one',)):  # the second time, because it is named
        with pytest.raises(SystemExit) as exit_info:
            faults.main([*arguments, '--folder', str(tmp_path)])
        assert exit_info.value.code == 1
    table = capsys.readouterr().out
    assert '| one | fault one | 2 | nothing | a / b | ' in table
    assert "| two | fault two | 0 | **FAILED** not measured: RuntimeError('no" in table
    assert len(measured) == 2
    with pytest.raises(SystemExit):
        faults.main(['three'])
    assert 'expected some of one, two, got three' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize('name', ['SIGKILL', 'SIGTERM'])
def test_two_of_each(tmp_path, monkeypatch, name):
    monkeypatch.setattr(fault_runs, 'ITERATIONS', 24)
    monkeypatch.setattr(fault_rows, 'LAST', 'iter_24.pth')
    if name == 'SIGKILL':
        result = fault_rows.sigkill(tmp_path, times=2)
    else:
        result = fault_rows.told_to_stop(tmp_path, name, times=2)
    assert result['times'] == 2 and not result['failed'], result
