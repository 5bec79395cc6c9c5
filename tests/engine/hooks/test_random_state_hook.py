from types import SimpleNamespace

import torch

from projects.adamae.engine.hooks import RandomStateHook


def draws(hook, runner):
    hook.before_train_iter(runner, 0)
    return tuple(torch.rand(3).tolist())


def test_draws_depend_on_seed_and_iteration_and_not_on_what_was_drawn_before():
    hook = RandomStateHook()
    runners = [SimpleNamespace(seed=s, iter=i) for s in (5, 6) for i in (0, 1, 100)]
    first = [draws(hook, runner) for runner in runners]
    assert len(set(first)) == 6
    assert [draws(hook, runner) for runner in reversed(runners)] == first[::-1]


def test_validation_always_draws_the_same():
    hook, drawn = RandomStateHook(), []
    for iteration in (3, 10):
        runner = SimpleNamespace(seed=iteration, iter=iteration)
        draws(hook, runner)
        hook.before_val(runner)
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)
