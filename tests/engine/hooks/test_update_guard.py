"""One bad number in any place of a step: nothing of it gets into weights or state."""

import math
import warnings
from functools import partial

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, LinearLR, OptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper

from projects.adamae.engine.hooks.fault_report import bad_state
from projects.adamae.engine.hooks.update_guard import Later, UpdateGuard

INPUTS = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
BAD_STEP = 3
PLACES = [
    *[('loss', number) for number in (math.nan, math.inf, -math.inf)],
    *[('scale of the loss', number) for number in (math.nan, math.inf, 1e30)],
    *[('weight gradient', number) for number in (math.nan, -math.inf, 1e30, 1e20)],
    *[('bias gradient', number) for number in (math.nan, math.inf, -1e30)],
    *[('inputs', number) for number in (math.nan, math.inf, 1e30)],
]
ADAM = partial(torch.optim.AdamW, lr=0.1)
OPTIMIZERS = {
    'fused': partial(ADAM, fused=True),
    'not fused': ADAM,
    'SGD': partial(torch.optim.SGD, lr=0.01, momentum=0.9),
}


def loss_of(model, place=None, number=None):
    """A loss with one bad number: the square of a line."""
    inputs = INPUTS * number if place == 'inputs' else INPUTS
    loss = model(inputs).square().mean()
    if place == 'loss':
        loss = loss + number
    if place == 'scale of the loss':
        loss = loss * number
    if place in ('weight gradient', 'bias gradient'):
        tensor = getattr(model, place.split()[0])
        handle = tensor.register_hook(
            lambda grad: (handle.remove(), torch.full_like(grad, number))[1]
        )
    return loss


def snapshot(model, optimizer):
    """Weights and optimizer state."""
    state = [value for part in optimizer.state.values() for value in part.values()]
    return [t.detach().clone() for t in (*model.parameters(), *state)]


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def set_up(optimizer='fused', max_skipped=0, wrapper=OptimWrapper, **kwargs):
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    made = wrapper(optimizer=OPTIMIZERS[optimizer](model.parameters()), **kwargs)
    return model, made, UpdateGuard(made, max_skipped)


def on_a_gpu(guard):
    """Let a guard do what it does where reading a number is a wait."""
    guard._waits = False
    return guard


@pytest.mark.parametrize('optimizer', [*OPTIMIZERS, 'fused, as on a GPU'])
@pytest.mark.parametrize('place, number', PLACES)
def test_weights_and_state_stay_as_before(place, number, optimizer):
    model, wrapper, guard = set_up(optimizer.split(',')[0])
    if 'GPU' in optimizer:
        on_a_gpu(guard)
    for step in range(BAD_STEP + 2):
        before = snapshot(model, wrapper.optimizer)
        spoil = (place, number) if step == BAD_STEP else ()
        wrapper.update_params(loss_of(model, *spoil))
        after = snapshot(model, wrapper.optimizer)
        # The updates after a bad one are left out, too, until the host notices it.
        assert step == 0 or equal(before, after) == (step >= BAD_STEP)
        assert guard.count.item() == (step >= BAD_STEP)


def test_good_updates_are_those_without_a_guard():
    for optimizer in OPTIMIZERS:
        model, wrapper, _ = set_up(optimizer, clip_grad=dict(max_norm=0.5))
        plain = torch.nn.Linear(2, 1)
        plain.load_state_dict(model.state_dict())
        other = OptimWrapper(
            OPTIMIZERS[optimizer](plain.parameters()), clip_grad=dict(max_norm=0.5)
        )
        for _ in range(3):
            wrapper.update_params(loss_of(model))
            other.update_params(loss_of(plain))
        assert equal(
            snapshot(model, wrapper.optimizer), snapshot(plain, other.optimizer)
        )


@pytest.mark.parametrize('gpu', [False, True])
def test_so_many_are_left_out_and_training_goes_on(gpu):
    model, wrapper, guard = set_up(max_skipped=2)
    if gpu:
        on_a_gpu(guard)
    moved = []
    for spoil in (False, True, False, True, False, True, False):
        before = snapshot(model, wrapper.optimizer)
        wrapper.update_params(loss_of(model, *(('loss', math.nan) if spoil else ())))
        after = snapshot(model, wrapper.optimizer)
        moved.append(len(before) != len(after) or not equal(before, after))
    assert moved == [True, False, True, False, True, False, False]
    assert guard.count.item() == 3
    assert not bad_state(wrapper.state_dict())


@pytest.mark.parametrize('number', [math.nan, 1e30])
@pytest.mark.parametrize('bad_pass', [4, 5])
def test_with_accumulation_and_clipping(bad_pass, number):
    model, wrapper, guard = set_up(accumulative_counts=2, clip_grad=dict(max_norm=1.0))
    for step in range(6):
        before = snapshot(model, wrapper.optimizer)
        spoil = ('scale of the loss', number) if step == bad_pass else ()
        wrapper.update_params(loss_of(model, *spoil))
    assert guard.updates == 3 and guard.count.item() == 1
    assert equal(before, snapshot(model, wrapper.optimizer))


@pytest.fixture
def amp(monkeypatch):
    """MMEngine's wrapper with a loss scaler, which it wants a GPU for."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    scaler = partial(torch.amp.GradScaler, 'cpu')
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', scaler)
    return AmpOptimWrapper


@pytest.mark.parametrize('optimizer', OPTIMIZERS)
@pytest.mark.parametrize('clip', [None, dict(max_norm=1.0)])
def test_overflow_of_float16_is_left_to_the_scaler(amp, optimizer, clip):
    model, wrapper, guard = set_up(optimizer, wrapper=amp, clip_grad=clip)
    scale = wrapper.loss_scaler.get_scale
    wrapper.update_params(loss_of(model))
    for number in (math.inf, math.nan, 1e30):
        before, old = snapshot(model, wrapper.optimizer), scale()
        wrapper.update_params(loss_of(model, 'weight gradient', number))
        assert equal(before, snapshot(model, wrapper.optimizer))
        assert scale() == old / 2 and guard.count.item() == 0
        wrapper.update_params(loss_of(model))
        assert not equal(before, snapshot(model, wrapper.optimizer))
    # A scale that has grown for long, as it does with bfloat16.
    wrapper.loss_scaler.update(2.0**100)
    before = snapshot(model, wrapper.optimizer)
    wrapper.update_params(loss_of(model))
    assert not equal(before, snapshot(model, wrapper.optimizer))
    # A loss is not the scaler's business, and neither is overflow without an end.
    before = snapshot(model, wrapper.optimizer)
    wrapper.update_params(loss_of(model, 'loss', math.inf))
    wrapper.update_params(loss_of(model))
    assert guard.count.item() == 1
    assert equal(before, snapshot(model, wrapper.optimizer))


def test_overflow_without_an_end_is_an_error(amp):
    model, wrapper, guard = set_up(wrapper=amp)
    # The scale is halved by each: 65536, ..., 1 / 1024, and then the first that counts.
    for _ in range(27):
        wrapper.update_params(loss_of(model, 'bias gradient', math.inf))
    assert guard.count.item() == 0
    wrapper.update_params(loss_of(model, 'bias gradient', math.inf))
    assert guard.count.item() == 1
    assert guard.scale.item() < 2**-10


def test_a_number_on_its_way_is_that_of_its_time():
    count = torch.zeros(())
    numbers = []
    for _ in range(3):
        count = count + 1
        numbers.append(Later(count))
    assert [number.read() for number in numbers] == [1, 2, 3]


def test_schedulers_find_their_mark():
    model = torch.nn.Linear(2, 1)
    wrapper = OptimWrapper(optimizer=ADAM(model.parameters()))
    scheduler = LinearLR(wrapper, start_factor=0.5)
    UpdateGuard(wrapper)
    wrapper.update_params(loss_of(model))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        scheduler.step()
