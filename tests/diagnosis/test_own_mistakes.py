"""A mistake of the doctor is not taken for one of the run."""

import pytest

from projects.adamae.diagnosis import curves, examine
from projects.adamae.reporting import page
from tests.reporting.runs import step, write_start


@pytest.fixture
def broken(monkeypatch):
    def fail(run, found):
        return {}['missing']

    monkeypatch.setattr(curves, 'examine_schedule', fail)


def test_a_mistake_is_told_with_its_place(tmp_path, broken):
    write_start(tmp_path, '1', [step(1, 1, 1.0)])
    (text,) = (t for t in examine(tmp_path).unknown if t.startswith('the schedule'))
    assert "KeyError: 'missing'" in text
    assert 'test_own_mistakes.py, line' in text and 'fault of this program' in text


def test_a_page_says_which_kind_of_error_it_was(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyError('missing')

    monkeypatch.setattr(page, 'examine', fail)
    write_start(tmp_path, '1', [step(1, 1, 1.0)])
    notes = page.write_report(tmp_path, tmp_path / 'page.html', 0)
    (text,) = (note for note in notes if note.startswith('diagnosis'))
    assert 'KeyError' in text and 'test_own_mistakes.py, line' in text
