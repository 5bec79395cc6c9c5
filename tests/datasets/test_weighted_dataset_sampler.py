"""Several data sets in given shares."""

from collections import Counter
from types import SimpleNamespace

import pytest
from fault_runs import first_difference
from mmengine.config import Config
from mmengine.dataset import ConcatDataset

from projects.adamae import VideoFolderDataset, WeightedDatasetSampler
from projects.adamae.datasets import weighted_dataset_sampler
from tests.engine.loops.test_exact_resume import CONFIG
from tests.helpers import run_tool, tiny_model_cfg, write_videos


def joined(*sizes):
    """Data sets of so many videos that do not exist."""
    dataset = object.__new__(ConcatDataset)
    dataset.datasets = [
        type('Part', (), dict(__len__=lambda self, n=n: n, ann_file=f'{n}.txt'))()
        for n in sizes
    ]
    return dataset


def epoch(sampler, number=0):
    sampler.set_epoch(number)
    return [*sampler]


def test_shares_are_exact_in_every_epoch():
    sampler = WeightedDatasetSampler(joined(1000, 10), [3, 1], num_videos=40, seed=0)
    for number in range(5):
        drawn = epoch(sampler, number)
        assert Counter(i < 1000 for i in drawn) == {True: 30, False: 10}
        assert {i for i in drawn if i >= 1000} == {*range(1000, 1010)}
    assert epoch(sampler) != sorted(epoch(sampler)) and epoch(sampler) == epoch(sampler)
    assert epoch(sampler, 1) != epoch(sampler)


@pytest.mark.parametrize('length', [7, 10, 64, 300])
def test_no_video_comes_again_before_all_others_have(length):
    sizes, weights = (50, 3), (2, 1)
    sampler = WeightedDatasetSampler(joined(*sizes), weights, length, seed=1)
    seen = Counter()
    for number in range(9):
        seen.update(epoch(sampler, number))
        for part in (range(50), range(50, 53)):
            times = [seen[i] for i in part]
            assert max(times) - min(times) <= 1
    assert sum(seen.values()) == 9 * length


@pytest.mark.parametrize('world', [2, 3, 8])
def test_processes_share_what_one_would_draw(world, monkeypatch):
    whole = epoch(WeightedDatasetSampler(joined(20, 5), [1, 1], seed=4), 3)
    drawn = []
    for rank in range(world):
        monkeypatch.setattr(
            weighted_dataset_sampler, 'get_dist_info', lambda r=rank: (r, world)
        )
        sampler = WeightedDatasetSampler(joined(20, 5), [1, 1], seed=4)
        drawn.append(epoch(sampler, 3))
        assert len(drawn[-1]) == len(sampler) == -(-25 // world)
    turns = [i for turn in zip(*drawn, strict=True) for i in turn]
    assert turns == [*whole, *whole][: len(turns)]


def test_seeds_and_data_sets_have_orders_of_their_own():
    samplers = [WeightedDatasetSampler(joined(9, 9), [1, 1], seed=s) for s in (0, 1)]
    first, second = map(epoch, samplers)
    assert first != second
    parts = [[i % 9 for i in first if i // 9 == k] for k in (0, 1)]
    assert parts[0] != parts[1]


def test_what_an_epoch_takes_is_logged(monkeypatch):
    logged = []
    monkeypatch.setattr(
        weighted_dataset_sampler, 'print_log', lambda text, *_: logged.append(text)
    )
    WeightedDatasetSampler(joined(1000, 10), [0.5, 0.5], num_videos=100, seed=0)
    assert logged == [
        'train_dataloader.sampler: an epoch takes 100 videos: 50 (50.0%) of the 1000 '
        'of 1000.txt, each 0.05 times; 50 (50.0%) of the 10 of 10.txt, each 5 times'
    ]


@pytest.mark.parametrize(
    ('weights', 'message'),
    [
        ([1], 'expected 2 numbers above 0, one per data set, got'),
        ([1, 0], 'expected 2 numbers above 0'),
        ([1, 'a'], 'expected 2 numbers above 0'),
        ([1, float('inf')], 'expected 2 numbers above 0'),
        ([1, float('nan')], 'expected 2 numbers above 0'),
        ([1e6, 1], '1 of 1e.06 gives no video of 10.txt'),
    ],
)
def test_weights_that_cannot_be_meant(weights, message):
    with pytest.raises(ValueError, match=f'Sampler.weights: .*{message}'):
        WeightedDatasetSampler(joined(20, 10), weights, seed=0)


def test_one_data_set_has_no_shares():
    with pytest.raises(ValueError, match='ConcatDataset.*, got SimpleNamespace'):
        WeightedDatasetSampler(SimpleNamespace(), [1], seed=0)


def test_runs_resume_and_bad_videos_are_replaced_by_their_own_kind(tmp_path, caplog):
    """Two folders, one of a damaged video among four; killed in the second epoch."""
    write_videos(tmp_path / 'videos', count=6, frames=10)
    write_videos(tmp_path / 'few', count=4, frames=10)
    (tmp_path / 'few/1.mp4').write_bytes(b'no video')
    changes = f"""
part = train_dataloader['dataset']
train_dataloader.update(
    sampler=dict(type='WeightedDatasetSampler', weights=[1, 1], num_videos=8),
    dataset=dict(type='ConcatDataset', datasets=[
        part, dict(part, data_prefix=dict(video={str(tmp_path / 'few')!r}))]))
default_hooks['unreadable_videos'] = dict(type='UnreadableVideosHook', max_share=0.5)
"""
    text = CONFIG.format(model=tiny_model_cfg(), videos=str(tmp_path / 'videos'))
    (tmp_path / 'toy.py').write_text(text + changes)
    whole, rest = tmp_path / 'whole', tmp_path / 'rest'
    run_tool('train', tmp_path / 'toy.py', '--work-dir', whole)
    bad = (whole / 'bad_videos.txt').read_text()
    assert bad.startswith(str(tmp_path / 'few/1.mp4')) and bad.count('\n') == 1
    (log,) = whole.glob('*/*.log')
    assert '8 videos: 4 (50.0%) of the 6 of' in log.read_text()
    arguments = '--work-dir', rest, '--resume', whole / 'iter_6.pth'
    run_tool('train', tmp_path / 'toy.py', *arguments)
    assert first_difference(whole / 'iter_12.pth', rest / 'iter_12.pth') is None


def test_a_folder_is_named(tmp_path):
    write_videos(tmp_path, count=2, frames=2)
    parts = [VideoFolderDataset(dict(video=str(tmp_path)), []) for _ in range(2)]
    sampler = WeightedDatasetSampler(ConcatDataset(parts), Config(dict(w=[1, 3])).w)
    assert sampler.counts == [1, 3]
