import importlib.util
import json
import sys
from argparse import ArgumentTypeError

import pytest
from PIL import Image

from projects.adamae.analysis.study import newest_metrics, plot, table
from projects.adamae.datasets.preparers.motion_videos import MotionSpec, make_dataset
from tests.helpers import ROOT

RESULTS = {'a': [{'x': 1.0, 'y': 2.0}, {'x': 3.0, 'y': 2.0}], 'b': [{'y': 0.5}]}


@pytest.fixture(scope='module')
def study():
    """Import tools/study.py."""
    spec = importlib.util.spec_from_file_location('study', ROOT / 'tools/study.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules['study'] = module
    spec.loader.exec_module(module)
    return module


def test_newest_metrics(tmp_path):
    for name, value in (('a', 0.5), ('b', 0.75)):
        (tmp_path / name).mkdir()
        rows = [dict(loss=1.0), {'acc/top1': value}, dict(loss=0.5)]
        (tmp_path / name / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)))
    assert newest_metrics(tmp_path, 'acc/top1') == {'acc/top1': 0.75}
    with pytest.raises(FileNotFoundError, match='no log here holds acc/top5'):
        newest_metrics(tmp_path, 'acc/top5')


def test_table():
    assert table(RESULTS).splitlines() == [
        '| pre-training | seeds | x | y |',
        '| --- | --- | --- | --- |',
        '| a | 2 | 2.000 ± 1.414 | 2.000 ± 0.000 |',
        '| b | 1 |  | 0.500 |',
    ]


def test_plot(tmp_path):
    plot(RESULTS, tmp_path / 'plot.png')
    width, height = Image.open(tmp_path / 'plot.png').size
    assert width == 1200 and height > 100


def test_way(study):
    config = ROOT / 'configs/demo/motion_tube_pretrain.py'
    assert study.way(str(config)) == study.Way('motion_tube_pretrain', config, ())
    assert study.way(f'{config}@0.95') == study.Way(
        'motion_tube_pretrain 0.95', config, ('model.sampler.mask_ratio=0.95',)
    )
    with pytest.raises(ArgumentTypeError, match='nothing.py: no such config'):
        study.way('nothing.py')


def test_train_resumes(study, tmp_path, monkeypatch):
    """Nothing is trained twice, and an interrupted run goes on."""
    calls = []
    monkeypatch.setattr(
        study, 'run', lambda *args, log: calls.append(args) or study.Cost(1.0, 2.0)
    )
    config = ROOT / 'configs/demo/motion_finetune.py'
    checkpoint = study.train(config, tmp_path, 3)
    assert '--seed=3' in calls[0] and '--resume' not in calls[0]
    assert json.loads((tmp_path / 'cost.json').read_text())['cpu_seconds'] == 1
    (tmp_path / 'last_checkpoint').touch()
    assert study.train(config, tmp_path, 3) == checkpoint
    assert '--resume' in calls[1]
    checkpoint.touch()
    assert study.train(config, tmp_path, 3) == checkpoint and len(calls) == 2


@pytest.mark.slow
def test_study_from_end_to_end(study, tmp_path, monkeypatch):
    make_dataset(tmp_path / 'data', MotionSpec(num_train=32, num_val=8, num_frames=40))
    monkeypatch.setattr(study, 'FINETUNE', write_short('motion_finetune.py', tmp_path))
    monkeypatch.setattr(study, 'LINEAR', write_short('motion_linear.py', tmp_path))
    config = write_short('motion_pretrain.py', tmp_path)
    options = ['--seeds', '0', '--data', str(tmp_path / 'data')]
    options += ['--out', str(tmp_path / 'out'), '--pretrain', str(config)]
    study.main(options)
    text = (tmp_path / 'out/table.md').read_text()
    assert len(text.splitlines()) == 4 and '| peak MiB |' in text
    assert (tmp_path / 'out/plot.png').exists()


def write_short(name, folder):
    """Make a config of two epochs of one; the study takes no others options."""
    path = folder / name
    path.write_text(
        f"_base_ = r'{ROOT / 'configs/demo' / name}'\n"
        'train_cfg = dict(max_epochs=2)\n'
        'param_scheduler = []\n'
    )
    return path
