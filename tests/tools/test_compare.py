"""tools/compare.py: two runs, records, checkpoints and configs side by side."""

import copy
import json

import pytest
import torch
from mmengine.config import Config

from projects.adamae.analysis import run_files
from projects.adamae.analysis.comparison import MISSING, differences
from tests.helpers import CONFIGS, run_tool

RECORD = {
    'schema': run_files.SCHEMA,
    'kind': 'train',
    'processes': 1,
    'environment': {'OMP_NUM_THREADS': '1', 'PYTHONPATH': '/one'},
    'seeds': {'seed': 0, 'diff_rank_seed': True, 'deterministic': False},
    'data': {'train_dataloader.dataset': {'ann_file': 'a.txt', 'sha256': '1' * 64}},
    'weights': None,
    'code': {'projects.adamae': {'checkout': '/one', 'commit': '0' * 40}},
    'packages': {'stack': {'torch': '2.13.0'}, 'all': {'torch': '2.13.0', 'x': '1'}},
    'hardware': {'cpu': 'fast', 'gpus': []},
    'config': {
        'work_dir': 'work_dirs/one',
        'resume': False,
        'model': {'type': 'MAERecognizer', 'sampler': {'mask_ratio': 0.95}},
        'optim_wrapper': {'optimizer': {'betas': [0.9, 0.95]}},
        'custom_hooks': [{'type': 'A'}, {'type': 'B'}],
    },
    'not_recorded': {},
}
ROWS = [
    {'lr': 0.1, 'loss': 0.5, 'iter': 1, 'step': 1, 'time': 0.2},
    {'acc/top1': 0.75, 'time': 0.1, 'step': 1},
    {'acc/top1': 0.5, 'time': 0.3, 'step': 2},
]


def write_run(folder, rows=ROWS, stamp='20260101_000000', **changes):
    """Write what is left of a run; keys with dots in ``changes`` by ``__``."""
    record = copy.deepcopy(RECORD)
    for key, value in changes.items():
        *parents, name = key.split('__')
        node = record
        for parent in parents:
            node = node[parent]
        node[name] = value
    (folder / stamp / 'vis_data').mkdir(parents=True)
    (folder / stamp / 'run.json').write_text(json.dumps(record))
    lines = [json.dumps(row) for row in rows]
    (folder / stamp / 'vis_data/scalars.json').write_text('\n'.join([*lines, '{"lo']))
    return folder


def compare(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_info:
        run_tool('compare', *arguments)
    out, err = capsys.readouterr()
    return exit_info.value.code, out, err.strip()


def test_nothing_differs_but_places_and_times(tmp_path, capsys):
    a = write_run(tmp_path / 'a')
    rows = [{**row, 'time': 9.0} for row in ROWS]
    b = write_run(
        *(tmp_path / 'b', rows),
        config__work_dir='work_dirs/two',
        environment={'OMP_NUM_THREADS': '1', 'PYTHONPATH': '/two'},
        code={'projects.adamae': {'checkout': '/two', 'commit': '0' * 40}},
        data={'train_dataloader.dataset': {'ann_file': 'b.txt', 'sha256': '1' * 64}},
    )
    assert compare(capsys, a, b) == (0, 'nothing differs\n', '')
    assert compare(capsys, a, b / '20260101_000000/run.json')[0] == 0


def test_what_differs_is_grouped_and_named_as_options_are(tmp_path, capsys):
    a = write_run(tmp_path / 'a')
    rows = [*ROWS, {'acc/top1': 0.875, 'step': 3}]
    b = write_run(
        *(tmp_path / 'b', rows),
        config__model__sampler={'mask_ratio': 0.9, 'name': '\x1b[31m'},
        config__optim_wrapper__optimizer__betas=[0.9, 0.999],
        config__custom_hooks=[{'type': 'A'}, {'type': 'New'}, {'type': 'B'}],
        seeds__seed=1,
        data={'train_dataloader.dataset': {'ann_file': 'a.txt', 'sha256': '2' * 64}},
        weights={'file': 'x.pth', 'sha256': '3' * 64},
        code={'projects.adamae': {'commit': '0' * 40, 'dirty': True}},
        packages={'stack': {'torch': '2.12.0'}, 'all': {'torch': '2.12.0'}},
        processes=8,
        environment={'OMP_NUM_THREADS': '2'},
    )
    code, out, _ = compare(capsys, a, b)
    assert code == 1
    for line in (
        'config',
        '  model.sampler.mask_ratio: 0.95 -> 0.9',
        '  model.sampler.name: (none) -> \\x1b[31m',
        '  optim_wrapper.optimizer.betas: [0.9, 0.95] -> [0.9, 0.999]',
        "  custom_hooks.1: (none) -> {'type': 'New'}",
        'seeds',
        '  seed: 0 -> 1',
        'data',
        '  train_dataloader.dataset.sha256: 111111111111 -> 222222222222',
        'weights',
        '  sha256: (none) -> 333333333333',
        'code',
        '  projects.adamae.dirty: (none) -> True',
        'packages',
        '  torch: 2.13.0 -> 2.12.0',
        '  x: 1 -> (none)',
        'hardware',
        '  processes: 1 -> 8',
        '  environment.OMP_NUM_THREADS: 1 -> 2',
    ):
        assert line in out.splitlines(), line
    assert out.count('torch') == 1 and 'PYTHONPATH' not in out
    table = [line.split() for line in out.split('results ')[1].splitlines()]
    assert ['acc/top1', '(last)', '0.5', '0.875'] in table
    assert ['acc/top1', '(best)', '0.75', '0.875'] in table
    assert ['loss', '(last)', '0.5', '0.5'] in table
    found = json.loads(compare(capsys, a, b, '--json')[1])
    assert found['differs'] and found['groups']['seeds'] == [
        {'key': 'seed', 'old': 0, 'new': 1}
    ]
    assert found['groups']['weights'] == [{'key': 'sha256', 'new': '3' * 64}]


def test_a_resumed_run_is_the_same_run_and_another_start_another(tmp_path, capsys):
    plain = write_run(tmp_path / 'plain', config__load_from=None)
    resumed = write_run(tmp_path / 'resumed', ROWS[:1], config__load_from=None)
    later = {'config__resume': True, 'config__load_from': 'resumed/epoch_1.pth'}
    later['weights'] = {'file': 'resumed/epoch_1.pth', 'bytes': 9, 'sha256': '1' * 64}
    write_run(resumed, ROWS[1:], '20260102_000000', **later)
    assert compare(capsys, plain, resumed) == (0, 'nothing differs\n', '')

    def started(name, content):
        weights = {'file': name, 'bytes': 9, 'sha256': content * 64}
        folder = tmp_path / name
        return write_run(folder, config__load_from=name, weights=weights)

    code, out, _ = compare(capsys, plain, started('a.pth', '1'))
    assert code == 1 and '  load_from: None -> a.pth\n' in out and '\nweights\n' in out
    assert compare(capsys, tmp_path / 'a.pth', started('b.pth', '1'))[0] == 0
    out = compare(capsys, tmp_path / 'a.pth', started('c.pth', '2'))[1]
    assert 'load_from: a.pth -> c.pth' in out and '  sha256: 1111' in out
    # Resumed from the checkpoint of a run that is not in the folder.
    alone = write_run(tmp_path / 'alone', **later)
    code, out, _ = compare(capsys, plain, alone)
    assert code == 1 and 'load_from: None -> resumed/epoch_1.pth' in out
    assert 'resume:' not in out


def test_results_alone_may_differ(tmp_path, capsys):
    a, b = write_run(tmp_path / 'a'), write_run(tmp_path / 'b', ROWS[:2])
    code, out, _ = compare(capsys, a, b)
    assert code == 1 and 'config' not in out and 'acc/top1 (last)' in out


def test_a_work_folder_is_its_newest_training(tmp_path):
    write_run(tmp_path, stamp='20260101_000000', seeds__seed=7)
    write_run(tmp_path, ROWS[:2], '20260102_000000')
    rows = [*ROWS[2:], {'health/top5_share': 0.1, 'step': 9}]
    write_run(tmp_path, rows, '20260103_000000', config__resume=True)
    write_run(tmp_path, [], '20260104_000000', kind='test')
    test = tmp_path / '20260104_000000'
    (test / '20260104_000000.json').write_text('{"acc/top1": 0.25, "time": 1}')
    run = run_files.read_run(tmp_path)
    assert 'health/top5_share (best)' not in run.results  # of training, and no metric
    assert run.path.endswith('20260103_000000/run.json')
    # Of all its parts, and of no other run.
    assert run.results['loss (last)'] == 0.5 and run.results['iter (last)'] == 1
    assert run.results['acc/top1 (best)'] == 0.75
    assert run.results['acc/top1 (last)'] == 0.5
    assert run_files.read_run(test).results['acc/top1 (last)'] == 0.25


def test_checkpoints_and_configs(tmp_path, capsys, monkeypatch):
    path = CONFIGS / 'demo/motion_pretrain.py'
    cfg = Config.fromfile(path)
    meta = dict(cfg=cfg.pretty_text, seed=0)
    torch.save(dict(meta=meta, state_dict={}), tmp_path / 'a.pth')
    code, out, _ = compare(capsys, tmp_path / 'a.pth', path)
    assert code == 0 and out.startswith('nothing differs\n')
    assert f'code, packages, hardware, results (not recorded in {tmp_path}' in out
    # MMEngine tells which variables a config reads.
    monkeypatch.setenv('MOTION_DATA', 'data/motion')
    assert json.loads(compare(capsys, path, path, '--json')[1])['differs'] is False
    cfg.model.sampler.mask_ratio = 0.5
    dump = tmp_path / 'old/20250101_000000/vis_data/config.py'  # before run.json
    dump.parent.mkdir(parents=True)
    cfg.dump(dump)
    code, out, _ = compare(capsys, tmp_path / 'old', tmp_path / 'a.pth')
    assert code == 1 and 'model.sampler.mask_ratio: 0.5 -> ' in out


def test_differences_of_lists():
    def keys(old, new):
        return [tuple(found) for found in differences(old, new, 'k')]

    step = [{'type': kind} for kind in 'ABCD']
    assert keys(step, step) == []
    assert keys(step, step[:2] + step[3:]) == [('k.2', step[2], MISSING)]
    assert keys(step[:3], [step[0], {'type': 'X'}, step[2]]) == [('k.1.type', 'B', 'X')]
    assert keys([1, 2], [1, 2, 3]) == [('k', [1, 2], [1, 2, 3])]
    assert keys(step, []) == [('k', step, [])]
    assert keys(1, True) == [('k', 1, True)] and keys(1, 1.0) == []


class Named:
    """Anything that a config may hold."""


def test_values_that_json_lacks():
    value = {1: (1, {2}), 'kind': Named, 'object': Named(), 'inf': float('inf')}
    name = f'{Named.__module__}.Named'
    plain = {'1': [1, [2]], 'kind': name, 'object': name, 'inf': 'inf'}
    assert run_files.plain_values(value) == plain
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


@pytest.mark.parametrize(
    ('name', 'content', 'text'),
    [
        ('run.json', '{"schema": 1, "con', 'damaged or no JSON'),
        ('run.json', '[' * 100_000, 'damaged or no JSON'),
        ('run.json', '[]', 'expected a run.json, with a number as schema'),
        ('run.json', '{"schema": true}', 'expected a run.json'),
        ('run.json', '{"schema": 99}', 'expected a run.json of schema 1, got 99'),
        ('run.json', '{"schema": 1, "data": [1]}', 'data: expected an object'),
        ('run.json', b'\xff\xfe', 'damaged or no JSON'),
        ('c.py', 'model = dict(', 'expected a config, got SyntaxError'),
        ('c.pth', 'no checkpoint', 'damaged, a part of a file'),
        ('gone.py', None, 'expected a file or folder, found none at'),
        ('empty', '', 'expected the work folder of a run'),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, capsys, name, content, text):
    other, path = write_run(tmp_path / 'a'), tmp_path / name
    if name == 'empty':
        path.mkdir()
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for pair in ((path, other), (other, path)):
        code, out, err = compare(capsys, *pair)
        assert (code, out) == (2, '') and len(err.splitlines()) == 1
        assert err.startswith('error: ') and text in err and str(path) in err


@pytest.mark.parametrize(
    'cfg', ['import os\nos.abort()', 'model = __import__("os").abort()', 7]
)
def test_a_checkpoint_is_read_and_not_run(tmp_path, capsys, cfg):
    torch.save(dict(meta=dict(cfg=cfg)), tmp_path / 'a.pth')
    code, _, err = compare(capsys, tmp_path / 'a.pth', tmp_path / 'a.pth')
    assert code == 2 and str(tmp_path / 'a.pth') in err


def test_a_record_without_most_of_its_keys(tmp_path, capsys):
    a, b = write_run(tmp_path / 'a'), tmp_path / 'run.json'
    b.write_text('{"schema": 1, "seeds": {}}')
    code, out, _ = compare(capsys, a, b)
    assert code == 1 and 'seed: 0 -> (none)' in out
    assert 'not compared: config, data,' in out and str(b) in out
