import json

import pytest
from mmengine.config import Config

from projects.adamae.reporting import bands
from projects.adamae.reporting.curves import Curve
from projects.adamae.reporting.page import write_report
from projects.adamae.utils.config_text import read_config_text
from tests.helpers import CONFIGS, load_tool
from tests.reporting.runs import CONFIG, step, write_start


def write_runs(folder, factors=(1, 2), config=CONFIG):
    for factor in factors:
        records = [step(i, i, factor * i) for i in (1, 2, 3)]
        write_start(folder / str(factor), '1', records, config=config)
    return [folder / str(factor) for factor in factors]


def measure(file, folders):
    arguments = ['mine', *map(str, folders), '--how', 'by hand', '--file', str(file)]
    load_tool('benchmarks/reference_bands').main(arguments)


def test_band_has_the_extremes_of_three_points_and_room():
    curves = [Curve('epochs', [(1, 1.0), (2, 2.0), (9, 4.0)]), Curve('epochs', [])]
    curves[1].points.extend([(1, 3.0), (2, 2.0), (3, 0.0)])
    assert bands.measure_band(curves) == [[1, 0.0, 4.0], [2, 0.0, 4.0]]


@pytest.mark.parametrize(
    ('points', 'expected'),
    [
        ([(1, 0.5), (2, 0.5)], (2, 2)),
        ([(0, 0.5), (3, 0.5)], (0, 0)),  # the band does not say
        ([(1, float('nan')), (1.5, 2.0)], (0, 2)),
        ([(1.5, 1.4)], (1, 1)),
    ],
)
def test_points_in_the_band(points, expected):
    band = [[1, 0, 1], [2, 0, 2]]
    assert bands.compare(Curve('epochs', points), band) == expected


def test_settings_that_differ_are_named(tmp_path):
    measure(tmp_path / 'bands.json', write_runs(tmp_path))
    cfg = read_config_text(CONFIG)
    found = bands.find_reference(cfg, tmp_path / 'bands.json')
    assert (found.family, found.runs, found.differs) == ('mine', 2, [])
    assert [*found.bands] == ['loss']
    cfg.optim_wrapper.optimizer.lr = 0.01
    found = bands.find_reference(cfg, tmp_path / 'bands.json')
    assert found.differs == [('optim_wrapper.optimizer.lr', 0.001, 0.01)]
    cfg.model.backbone.depth = 12
    assert bands.find_reference(cfg, tmp_path / 'bands.json') is None


def test_runs_of_two_recipes_make_no_band(tmp_path, capsys):
    runs = write_runs(tmp_path, [1])
    runs += write_runs(tmp_path, [2], CONFIG.replace('0.001', '0.1'))
    with pytest.raises(SystemExit) as done:
        measure(tmp_path / 'bands.json', runs)
    assert done.value.code == 2
    assert 'optim_wrapper.optimizer.lr: 0.1 instead of 0.001' in capsys.readouterr().err


def test_page_shows_band_and_verdict(tmp_path, monkeypatch):
    file = tmp_path / 'bands.json'
    measure(file, write_runs(tmp_path))
    monkeypatch.setattr(bands.find_reference, '__defaults__', (file,))
    write_report(tmp_path / '1', tmp_path / 'a.html', 0)
    text = (tmp_path / 'a.html').read_text()
    assert '3 of 3 points in the band' in text and 'class="band"' in text
    write_start(tmp_path / 'bad', '1', [step(i, i, 9.0) for i in (1, 2, 3)])
    write_report(tmp_path / 'bad', tmp_path / 'b.html', 0)
    assert '0 of 3 points in the band' in (tmp_path / 'b.html').read_text()


def test_packaged_bands_are_of_configs_here():
    content = json.loads(bands.FILE.read_text('utf-8'))
    assert content['families'].keys() == content['bands'].keys()
    for family, scalars in content['bands'].items():
        assert content['families'][family]['runs'] > 1
        for band in scalars.values():
            assert band == sorted(band) and all(low <= high for _, low, high in band)


def test_demo_has_bands():
    cfg = Config.fromfile(CONFIGS / 'demo/motion_pretrain.py')
    found = bands.find_reference(cfg)
    assert found and not found.differs and 'loss_reconstruction' in found.bands
