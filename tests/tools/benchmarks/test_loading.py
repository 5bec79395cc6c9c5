import dataclasses
from pathlib import Path

import av
import loading_pipelines as bench
import pytest
from mmengine.config import Config

from tests.helpers import CONFIGS, run_tool

SMALL = dataclasses.replace(bench.KINDS[0], height=64, width=96, frames=(40, 44))


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    return bench.write_videos(tmp_path_factory.mktemp('videos'), SMALL, 2)


def test_videos_are_as_said_and_kept(files):
    with av.open(files[0]) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (96, 64, 12)
        assert 40 <= stream.frames <= 44
    folder, before = Path(files[0]).parent, Path(files[0]).stat().st_mtime_ns
    assert bench.write_videos(folder, SMALL, 2) == files
    assert Path(files[0]).stat().st_mtime_ns == before


def test_the_published_pipeline_is_that_of_the_config():
    config = Config.fromfile(CONFIGS / 'adamae_vitb_ssv2_pretrain.py')
    published = config.to_dict()['train_dataloader']['dataset']['pipeline']
    decord = bench.published_pipeline(2)
    assert decord[0] == dict(type='DecordInit')
    assert bench.with_skipping(decord) == published
    assert decord != bench.published_pipeline(4)


def test_every_transform_is_timed_and_clips_are_counted(files):
    measured = bench.measure(bench.variants(None, 2), files, rounds=2)
    assert list(measured) == [
        'MMAction2',
        'MMAction2, 4 crops per decode',
        'PyAVSkip',
        'PyAVSkip, 4 crops per decode',
        'decoding alone',
    ]
    four = measured['PyAVSkip, 4 crops per decode']
    assert four.clips == 4 and len(four.rates) == 2 and min(four.rates) > 0
    assert list(four.parts)[:4] == [
        'PyAVSkipInit',
        'RepeatLastSampleFrames',
        'PyAVSkipDecode',
        'PerClip',
    ]
    assert min(four.parts.values()) > 0
    assert not any(result.problem for result in measured.values())


def test_a_config_s_pipeline_is_measured_as_it_is():
    own = bench.published_pipeline(4)[:-1] + [dict(type='PackActionInputs')]
    found = bench.variants(own, 4)
    assert list(found) == ['MMAction2', 'this config', 'this config, PyAVSkip']
    assert found['this config'] == own
    assert found['this config, PyAVSkip'][0] == dict(type='PyAVSkipInit')
    ours = found['this config, PyAVSkip']
    assert bench.variants(ours, 4)['this config, decord'] == own
    raw = [dict(type='PyAVInit'), *own[1:2], dict(type='PyAVDecode'), *own[3:]]
    assert list(bench.variants(raw, 4)) == ['MMAction2', 'this config']


def test_a_dataset_that_repeats_is_measured_as_it_is(files):
    own = dict(
        type='TolerantRepeatAugDataset',
        num_repeats=3,
        pipeline=bench.published_pipeline(2),
    )
    found = bench.variants(own, 2)
    assert list(found) == ['MMAction2', 'this config']
    measured = bench.measure(found, files, rounds=1)
    assert measured['this config'].clips == 3
    assert measured['decoding alone'].clips == 3
    assert list(measured['this config'].parts)[:3] == [
        'DecordInit',
        'RepeatLastSampleFrames',
        'DecordDecode',
    ]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / 'broken.mp4'
    path.write_bytes(bytes(100))
    with pytest.raises(ValueError, match=r'broken\.mp4: '):
        bench.measure(bench.variants(None, 2), [str(path)], rounds=1)


def test_the_tool_prints_ratios(files, capsys):
    folder = Path(files[0]).parent
    config = CONFIGS / 'adamae_vitb_k400_pretrain.py'
    options = ['--videos', folder, '--rounds', 1, '--count', 1]
    run_tool('benchmarks/loading', config, *options)
    text = capsys.readouterr().out
    assert 'this config, decord' in text and 'MMAction2' in text
    assert '1.00x (1.00 - 1.00)' in text and 'decoding alone' in text
