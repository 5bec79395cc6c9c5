from functools import partial
from types import SimpleNamespace

import torch
from mmengine.dataset import worker_init_fn

from projects.adamae.engine.hooks import RandomStateHook


def runner(seed, iteration):
    init = partial(worker_init_fn, num_workers=2, rank=0, seed=seed)
    loader = SimpleNamespace(worker_init_fn=init)
    return SimpleNamespace(seed=seed, iter=iteration, train_dataloader=loader)


def draws(seed, iteration):
    torch.manual_seed(seed)  # what MMEngine does at the start, and again on resuming
    RandomStateHook().before_train(runner(seed, iteration))
    return torch.rand(4).tolist()


def test_a_resumed_run_draws_anew_and_repeatably():
    streams = [draws(seed, i) for seed in (5, 6) for i in (0, 1, 100)]
    assert len({tuple(s) for s in streams}) == 6
    assert draws(5, 100) == draws(5, 100)


def test_workers_of_every_epoch_have_their_own_seed():
    hook = RandomStateHook()
    seeds = []
    for iteration in (0, 10, 20):
        r = runner(5, iteration)
        hook.before_train_epoch(r)
        seeds.append(r.train_dataloader.worker_init_fn.keywords['seed'])
    assert seeds[0] == 5 and len(set(seeds)) == 3
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_validation_leaves_the_stream_of_training_alone():
    hook, r = RandomStateHook(), runner(5, 10)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first = []
    for _ in range(2):
        hook.before_val(r)
        first.append(torch.rand(3))
        hook.after_val(r)
    assert torch.equal(first[0], first[1])
    assert torch.equal(torch.rand(3), expected)
