"""Which starts of a work folder belong to the run that it holds now."""

import json

from projects.adamae.diagnosis.work_folder import read_work_folder
from projects.adamae.reporting.page import _cost
from projects.adamae.reporting.work_folder import read_run
from tests.reporting.runs import CONFIG, LOG, step, write_pictures, write_start

NEW = f'{CONFIG}resume = False\n'
RESUMED = f'{CONFIG}resume = True\n'


def test_a_run_started_over_with_a_longer_log_interval(tmp_path):
    """Of the first, which logged more often, nothing stays between the points."""
    old = [step(i, 1, 1.0, old=1) for i in range(1, 9)]
    old.append({'health/entropy': 0.5, 'step': 2})
    first = write_start(tmp_path, '1', old, config=NEW)
    write_pictures(first / 'vis_image', ['masked_video_0_1'])
    second = write_start(tmp_path, '2', [step(4, 1, 5.0)], config=NEW)
    write_pictures(second / 'vis_image', ['masked_video_0_2'])
    write_start(tmp_path, '3', [step(8, 2, 6.0)], config=RESUMED)
    run = read_run(tmp_path)
    assert run.curves.by_name['loss'].points == [(4, 5.0), (8, 6.0)]
    assert 'old' not in run.curves.by_name
    assert 'health/entropy' not in run.curves.by_name
    assert run.curves.resumed_at == [8]
    assert [*run.sheets['masked_video_0']] == [2]
    assert [log.path.parent.name for log in run.logs] == ['2', '3']
    assert [row['step'] for row in read_work_folder(tmp_path).train] == [4, 8]


def test_a_start_that_ended_before_its_first_line_replaces_nothing(tmp_path):
    write_start(tmp_path, '1', [step(4, 1, 5.0)], config=NEW)
    vis_data = write_start(tmp_path, '2', [], config=NEW)
    (vis_data / 'scalars.json').unlink()
    record = json.dumps(dict(schema=1, kind='train'))
    (vis_data.parent / 'run.json').write_text(record)
    assert read_run(tmp_path).curves.by_name['loss'].points == [(4, 5.0)]


def test_the_cost_is_that_of_the_training_and_not_of_a_test(tmp_path):
    """A test on one process says nothing of the two that trained."""
    write_start(tmp_path, '1', [step(4, 1, 5.0)])
    test = LOG.replace('GPU number: 2', 'GPU number: 1').replace('(train)', '(test)')
    (tmp_path / '2').mkdir()
    (tmp_path / '2/2.log').write_text(test)
    cost = _cost(read_run(tmp_path))
    assert cost['processes'] == '2 processes: 0.0383 process hours'
    assert cost['videos a second'] == '160'
