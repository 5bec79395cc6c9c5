from functools import partial
from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import worker_init_fn
from torch.utils.data import DataLoader, Dataset

from projects.adamae.engine.hooks import RandomStateHook


class Draws(Dataset):
    """A random number of the process that reads the sample."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return torch.rand(())


def make_runner(iteration, seed=5, init=worker_init_fn, **loader):
    if init is worker_init_fn:
        init = partial(init, num_workers=1, rank=0, seed=seed)
    loader = DataLoader(Draws(), worker_init_fn=init, **loader)
    return SimpleNamespace(seed=seed, iter=iteration, train_dataloader=loader)


def draw_in_main_process(seed, iteration):
    torch.manual_seed(seed)  # what MMEngine does at the start, and again on resuming
    RandomStateHook().before_train(make_runner(iteration, seed))
    return torch.rand(4).tolist()


def test_a_resumed_run_draws_anew_and_repeatably():
    streams = [draw_in_main_process(seed, i) for seed in (5, 6) for i in (0, 1, 100)]
    assert len({tuple(s) for s in streams}) == 6
    assert draw_in_main_process(5, 100) == streams[2]


@pytest.mark.parametrize('persistent', [False, True])
def test_workers_repeat_no_draw_in_later_epochs_or_after_a_resume(persistent):
    hook, kwargs = RandomStateHook(), dict(num_workers=1, persistent_workers=persistent)

    def run(start):
        """Two epochs of three draws."""
        runner, draws = make_runner(start, **kwargs), []
        for _ in range(2):
            hook.before_train_epoch(runner)
            draws.append([x.item() for x in runner.train_dataloader])
            runner.iter += 3
        return draws

    first, resumed = run(0), run(3)
    torch.manual_seed(5)
    assert first[0] == torch.rand(3).tolist(), 'seeded by MMEngine'
    assert len({x for epoch in first + resumed[1:] for x in epoch}) == 9
    assert run(3) == resumed
    # Workers that are started in every epoch are seeded in every epoch.
    assert (resumed[0] == first[1]) is not persistent
    assert set(resumed[0]).isdisjoint(first[0])


def test_a_users_own_worker_init_fn_is_left_alone():
    own = partial(print, 'worker')
    runner = make_runner(3, init=own)
    RandomStateHook().before_train_epoch(runner)
    assert runner.train_dataloader.worker_init_fn is own


def test_validation_leaves_the_stream_of_training_alone():
    hook, runner = RandomStateHook(), make_runner(10)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first = []
    for _ in range(2):
        hook.before_val(runner)
        first.append(torch.rand(3))
        hook.after_val(runner)
    assert torch.equal(first[0], first[1])
    assert torch.equal(torch.rand(3), expected)
