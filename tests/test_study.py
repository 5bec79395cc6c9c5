import json

import pytest

from projects.adamae.study import newest_metrics, table


def test_newest_metrics(tmp_path):
    for name, value in (('a', 0.5), ('b', 0.75)):
        (tmp_path / name).mkdir()
        rows = [dict(loss=1.0), {'acc/top1': value}, dict(loss=0.5)]
        (tmp_path / name / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)))
    assert newest_metrics(tmp_path, 'acc/top1') == {'acc/top1': 0.75}
    with pytest.raises(FileNotFoundError, match='no log here holds acc/top5'):
        newest_metrics(tmp_path, 'acc/top5')


def test_table():
    text = table({'a': [{'x': 1.0, 'y': 2.0}, {'x': 3.0, 'y': 2.0}], 'b': [{'y': 0.5}]})
    assert text.splitlines() == [
        '| pre-training | seeds | x | y |',
        '| --- | --- | --- | --- |',
        '| a | 2 | 2.000 ± 1.414 | 2.000 ± 0.000 |',
        '| b | 1 |  | 0.500 |',
    ]
