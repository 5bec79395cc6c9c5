"""Samples depend on their place in the run, whatever happens to workers."""

import os
import random
import signal
import time

import numpy as np
import pytest
import torch
from torch.multiprocessing import get_context
from torch.utils.data import DataLoader, Dataset, get_worker_info

from projects.adamae.datasets import resumable_loader
from projects.adamae.datasets.resumable_loader import ResumableDataLoader


class Draws(Dataset):
    """Index and a random number of each generator; may end the process."""

    def __init__(self, misfortune=None):
        self.misfortune = misfortune or {}
        self.spared = get_context('fork').RawArray('b', 11)
        self.reading = [-1] * 2

    def __len__(self):
        return 11

    def __getitem__(self, index):
        if get_worker_info():
            self.reading[get_worker_info().id] = index
        if index in self.misfortune and not self.spared[index]:
            self.misfortune[index](self, index)
        drawn = [random.random(), np.random.rand(), torch.rand(()).item()]
        return torch.tensor([index, *drawn], dtype=torch.float64)


def load(start=0, dataset=None, rank=0, seed=7, **kwargs):
    """The batches of two passes, from a sample of the first on."""
    loader = DataLoader(dataset or Draws(), batch_size=2, **kwargs)
    iteration = [-(-start // 2)]
    loader = ResumableDataLoader(loader, lambda: (seed, rank, iteration[0]))
    loader.skip(start)
    batches = []
    for _ in range(2):
        for batch in loader:
            batches.append(batch)
            iteration[0] += 1
    assert loader.samples_read == 11
    loader.close()
    return batches


def assert_same(first, second):
    assert len(first) == len(second)
    assert all(map(torch.equal, first, second))


@pytest.mark.parametrize(
    'workers', [{}, dict(num_workers=2), dict(num_workers=2, persistent_workers=True)]
)
def test_samples_depend_on_their_place_only(workers):
    expected = load()
    assert len({x.item() for batch in expected for x in batch[:, 1:].flatten()}) == 66
    assert_same(load(**workers), expected)
    for batch in 3, 5, 6:  # 6: nothing is left of the first pass
        assert_same(load(min(2 * batch, 11), **workers), expected[batch:])


def test_other_seeds_and_ranks_draw_other_numbers():
    drawn = {load(seed=s, rank=r)[0][0, 1].item() for s in (0, 1) for r in (0, 1)}
    assert len(drawn) == 4


def test_part_of_a_batch_can_be_left_out():
    assert [b[:, 0].tolist() for b in load(start=7)[:3]] == [[7], [8, 9], [10]]


def test_settings_of_the_loader_are_kept():
    loader = DataLoader(
        Draws(), 4, drop_last=True, num_workers=1, prefetch_factor=5, timeout=3
    )
    ours = ResumableDataLoader(loader, lambda: (0, 0, 0))
    for name in 'num_workers', 'prefetch_factor', 'timeout', 'collate_fn':
        assert getattr(ours, name) == getattr(loader, name)
    assert len(ours) == 2
    assert ours.batch_sampler.batch_size == 4
    assert ours.batch_sampler.sampler is loader.sampler
    assert ours.dataset.spared is loader.dataset.spared


def end_with(number):
    return lambda dataset, index: os.kill(os.getpid(), number)


@pytest.fixture
def rejected(monkeypatch):
    """What the loader has rejected, and why."""
    found = {}

    def watch(dataset, num_workers):
        dataset.reading = torch.full((num_workers,), -1).share_memory_()

    def reject_read_by(worker, dataset, reason):
        index = int(dataset.reading[worker])
        found[index] = reason
        dataset.spared[index] = True
        return str(index)

    monkeypatch.setattr(resumable_loader, 'watch', watch)
    monkeypatch.setattr(resumable_loader, 'reject_read_by', reject_read_by)
    return found


def test_a_crash_costs_one_sample(rejected):
    dataset = Draws({5: end_with(signal.SIGSEGV)})
    assert_same(load(dataset=dataset, num_workers=2), load())
    assert rejected == {5: 'the process that read it ended with SIGSEGV'}


def test_a_worker_that_is_killed_between_two_passes():
    loader = DataLoader(Draws(), batch_size=2, num_workers=1, persistent_workers=True)
    loader = ResumableDataLoader(loader, lambda: (7, 0, 0))
    first = [*loader]
    (worker,) = loader._iterator._workers
    worker.kill()
    worker.join()
    assert_same([*loader], first)
    loader.close()


@pytest.mark.slow
def test_a_sample_that_never_comes_is_rejected(rejected, monkeypatch):
    monkeypatch.setattr(resumable_loader, '_SECONDS_PER_SAMPLE', 1)
    dataset = Draws({4: lambda *_: time.sleep(1000)})
    kwargs = dict(num_workers=2, persistent_workers=True)
    assert_same(load(dataset=dataset, **kwargs), load())
    assert rejected == {4: 'not read within 1 s'}


@pytest.mark.slow
def test_killed_workers_are_replaced_and_nothing_is_rejected(rejected):
    def kill(dataset, index):
        dataset.spared[index] = True
        os.kill(os.getpid(), signal.SIGKILL)

    dataset = Draws({1: kill, 6: kill})
    assert_same(load(dataset=dataset, num_workers=2), load())
    assert not rejected


@pytest.mark.slow
@pytest.mark.parametrize(
    ('misfortune', 'cause'),
    [(lambda *_: os._exit(3), 'exit code 3'), (end_with(9), 'SIGKILL, the last of 2')],
)
def test_workers_that_cannot_stay_alive_end_the_run(
    misfortune, cause, rejected, monkeypatch
):
    monkeypatch.setattr(resumable_loader, '_MAX_RESTARTS', 1)
    with pytest.raises(RuntimeError, match=cause):
        load(dataset=Draws({4: misfortune}), num_workers=1)
    assert not rejected


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('kind', [RuntimeError, ConnectionError, EOFError])
def test_errors_of_a_dataset_pass(kind, workers, rejected):
    def fail(*_):
        raise kind('of a file')

    with pytest.raises(kind, match='of a file'):
        load(dataset=Draws({4: fail}), num_workers=workers)
    assert not rejected
