import json
import re
import time
from argparse import ArgumentTypeError

import numpy as np
import pytest
from PIL import Image

from projects.adamae.analysis import study
from projects.adamae.datasets.preparers.motion_videos import MotionSpec, make_dataset
from tests.helpers import CONFIGS, load_tool, run_tool

RESULTS = {'a': [{'x': 1.0, 'y': 2.0}, {'x': 3.0, 'y': 2.0}], 'b': [{'y': 0.5}]}


def test_table():
    assert study.table(RESULTS).splitlines() == [
        '| pre-training | seeds | x | y |',
        '| --- | --- | --- | --- |',
        '| a | 2 | 2.000 ± 1.414 | 2.000 ± 0.000 |',
        '| b | 1 |  | 0.500 |',
    ]


def test_plot(tmp_path):
    """A dot per seed, their mean, a row per method; and the file shows them."""
    figure = study.plot(RESULTS, tmp_path / 'plot.png')
    panels = {axis.get_title(): axis for axis in figure.axes}
    drawn = {
        name: [[*zip(*line.get_data(), strict=True)] for line in axis.lines]
        for name, axis in panels.items()
    }
    assert drawn == {
        'x': [[(1, 0), (3, 0)], [(2, 0)]],
        'y': [[(2, 0), (2, 0)], [(2, 0)], [(0.5, 1)], [(0.5, 1)]],
    }
    assert [text.get_text() for text in panels['x'].get_yticklabels()] == ['a', 'b']
    image = np.array(Image.open(tmp_path / 'plot.png').convert('RGB'))
    points = np.array([(3, 0), (2, 1)])  # a dot in the first panel, and nothing there
    columns, rows = panels['x'].transData.transform(points).round().astype(int).T
    red, _, blue = image[len(image) - 1 - rows, columns].T.astype(int)
    assert (blue - red > 50).tolist() == [True, False]


def test_method():
    parse, config = load_tool('study').method, CONFIGS / 'demo/motion_tube_pretrain.py'
    assert parse(str(config)) == study.Method('motion_tube_pretrain', config, ())
    assert parse(f'{config}@0.95') == study.Method(
        'motion_tube_pretrain 0.95', config, ('model.sampler.mask_ratio=0.95',)
    )
    with pytest.raises(ArgumentTypeError, match='nothing.py: no such config'):
        parse('nothing.py')


def test_train_resumes(tmp_path, monkeypatch):
    """Nothing is trained twice, and an interrupted run goes on."""
    calls = []
    monkeypatch.setattr(
        study, 'run_tool', lambda *args, log: calls.append(args) or study.Cost(1.0, 2.0)
    )
    config = CONFIGS / 'demo/motion_finetune.py'
    checkpoint = study.train(config, tmp_path, 3)
    assert '--seed=3' in calls[0] and '--resume' in calls[0]
    assert json.loads((tmp_path / 'cost.json').read_text())['cpu_seconds'] == 1
    (tmp_path / 'last_checkpoint').touch()
    assert study.train(config, tmp_path, 3) == checkpoint
    assert '--resume' in calls[1]
    checkpoint.touch()
    assert study.train(config, tmp_path, 3) == checkpoint and len(calls) == 2


def test_what_ends_a_study_ends_its_runs(tmp_path, monkeypatch):
    """Ctrl-C starts no other run, and one that is running is told to end."""
    tool, started = tmp_path / 'tool.py', tmp_path / 'started'
    tool.write_text(
        f'import pathlib, time\npathlib.Path({str(started)!r}).touch()\ntime.sleep(600)'
    )
    ended = []

    def evaluate(method, seed, out, judges):
        try:
            study.run_tool(str(tool), log=tmp_path / f'{seed}.log')
        except study.RunError as error:
            ended.append((seed, str(error)))
            raise

    def interrupt(runs):
        while not started.exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(study, 'evaluate', evaluate)
    monkeypatch.setattr(study, 'as_completed', interrupt)
    with pytest.raises(KeyboardInterrupt):
        study.run_study([study.SCRATCH], [0, 1], tmp_path, 1, study.Judges())
    assert ended[0] == (0, f'{tool} failed, see {tmp_path / "0.log"}')
    assert not (tmp_path / '1.log').exists()


def test_errors_take_one_line(tmp_path, capsys, monkeypatch):
    def fail(tool, *arguments, log):
        raise RuntimeError(f'{tool} failed')

    monkeypatch.setenv('MOTION_DATA', '')
    monkeypatch.setattr(study, 'run_tool', fail)
    options = [f'--data={tmp_path}', f'--out={tmp_path / "out"}', '--seeds=7']
    for told in ('no dataset in ', r'[\w ]+, seed 7: train\.py failed'):
        with pytest.raises(SystemExit, match='2'):
            run_tool('study', *options)
        assert re.search(f'^error: {told}', capsys.readouterr().err, re.M)
        (tmp_path / 'dataset.json').touch()


@pytest.mark.slow
def test_study_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setenv('MOTION_DATA', '')
    make_dataset(tmp_path / 'data', MotionSpec(num_train=32, num_val=8, num_frames=40))
    configs = {}
    for name in ('finetune', 'linear', 'pretrain'):
        configs[name] = tmp_path / f'motion_{name}.py'
        configs[name].write_text(
            f"_base_ = r'{CONFIGS / 'demo' / configs[name].name}'\n"
            'train_cfg = dict(max_epochs=2)\n'
            'param_scheduler = []\n'
        )
    monkeypatch.setattr(study, 'FINETUNE', configs['finetune'])
    monkeypatch.setattr(study, 'LINEAR', configs['linear'])
    options = ['--seeds', '0', '--data', tmp_path / 'data', '--out', tmp_path / 'out']
    run_tool('study', *options, '--pretrain', configs['pretrain'])
    text = (tmp_path / 'out/table.md').read_text()
    assert len(text.splitlines()) == 4 and '| peak MiB |' in text
    assert (tmp_path / 'out/plot.png').exists()
