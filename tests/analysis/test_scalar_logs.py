import json

import pytest

from projects.adamae.analysis.scalar_logs import newest_metrics, read_scalars


def write(path, rows, end=''):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows) + end)
    return path


def test_newest_metrics(tmp_path):
    for name, value in (('a', 0.5), ('b', 0.75)):
        rows = [dict(loss=1.0), {'acc/top1': value}, dict(loss=0.5)]
        write(tmp_path / name / 'scalars.json', rows, end='{"acc/top1": 0.')  # killed
    assert newest_metrics(tmp_path, 'acc/top1') == {'acc/top1': 0.75}
    with pytest.raises(FileNotFoundError, match='no log here holds acc/top5'):
        newest_metrics(tmp_path, 'acc/top5')


def test_what_a_resumed_run_repeats_counts_once(tmp_path):
    def training(iteration, loss):
        return dict(loss=loss, epoch=-(-iteration // 2), iter=iteration, step=iteration)

    def validation(epoch, value):
        return {'acc/top1': value, 'step': epoch}

    health = {'health/entropy': 0.9, 'step': 3}
    first = [training(i, 1.0) for i in (1, 2, 3, 4)] + [validation(1, 0.1), health]
    second = [training(3, 2.0), training(4, 2.0), validation(2, 0.2)]
    third = [validation(3, 0.3)]  # it was killed before its first step
    files = [
        write(tmp_path / name, rows)
        for name, rows in (('1', first), ('2', second), ('3', third))
    ]
    found = read_scalars([*files, tmp_path / 'none'])
    assert found.rows == [*first[:2], first[4], *second, *third]
    assert found.by_epoch and found.resumed_at == [3] and not found.damaged
