"""What is left of runs: any content compares, or is an error of one line."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from projects.adamae.analysis.comparison import (
    compare_runs,
    comparison_as_json,
    format_comparison,
)
from projects.adamae.analysis.run_files import PARTS, SCHEMA, read_run
from tests.fuzz import documented, fuzz

KEYS = [*PARTS, 'processes', 'schema', 'kind', 'stack', 'all', 'work_dir', 'file']
KEYS += ['sha256', 'environment', 'resume', 'acc/top1', 'lr', '', 'a.b', '\x1b[31m']
key = st.sampled_from(KEYS) | st.text(max_size=3)
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
plain |= st.sampled_from([10**400, float('nan'), '\x1b[2J', 'a' * 64])
value = st.recursive(
    plain, lambda v: st.lists(v, max_size=3) | st.dictionaries(key, v, max_size=3)
)
part = st.dictionaries(key, value, max_size=3)
record = st.dictionaries(st.sampled_from(KEYS), part | value, max_size=5)
row = st.dictionaries(key, plain, max_size=3) | value
content = record.map(lambda r: {'schema': SCHEMA, **r}) | value


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return tmp_path_factory.mktemp('runs')


@fuzz
@given(content, content, st.lists(row, max_size=3), st.sampled_from([0, 0, 0, 20]))
@example({'schema': 1, 'processes': {}}, {'schema': 1}, [], 0)
@example({'schema': 1, 'packages': {'all': {'x': {}}}}, {'schema': 1}, [], 0)
@example({'schema': 1, 'data': {'a': [{'b': 1}]}}, {'schema': 1, 'data': {}}, [], 0)
@example({'schema': 1}, {'schema': 1}, [{'acc/top1': 10**400}], 0)
def test_any_record_compares_or_is_an_error(root, first, second, rows, cut):
    for name, whole in (('a', first), ('b', second)):
        folder = root / name / '20260101_000000/vis_data'
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(whole)
        (folder.parent / 'run.json').write_text(text[: len(text) - cut or None])
        lines = [json.dumps(row) for row in rows]
        (folder / 'scalars.json').write_text('\n'.join(lines))
    with documented():
        found = compare_runs(read_run(root / 'a'), read_run(root / 'b'))
        assert format_comparison(found).replace('\n', '').isprintable()
        json.loads(comparison_as_json(found))
        same = compare_runs(read_run(root / 'a'), read_run(root / 'a'))
        assert not same.differs
