import logging

import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper

from projects.adamae.engine.hooks import FiniteCheckHook, SafeCheckpointHook
from projects.adamae.engine.hooks import fault_report as report
from projects.adamae.utils import fileio


class Runner:
    """What the hook needs: a batch an epoch, so that every iteration is logged."""

    iter = 41
    hooks = []
    train_dataloader = [0]


@pytest.mark.parametrize(
    'bad, cause',
    [
        ({'loss_reconstruction': float('nan')}, 'the loss became'),
        (
            {'sampler_entropy': float('nan'), 'loss_sampling': float('inf')},
            "the token sampler's logits became",
        ),
        (
            {'sampler_entropy': float('nan'), 'loss_reconstruction': float('nan')},
            'logits and the reconstruction',
        ),
    ],
)
def test_names_iteration_and_cause(bad, cause):
    good = dict(loss_reconstruction=1.0, loss_sampling=1e-3, sampler_entropy=0.9)
    hook = FiniteCheckHook()
    outputs = {k: torch.tensor(v) for k, v in good.items()}
    hook.after_train_iter(Runner, 0, outputs=outputs)
    outputs.update({k: torch.tensor(v) for k, v in bad.items()})
    with pytest.raises(FloatingPointError, match=f'iteration 42: .*{cause}'):
        hook.after_train_iter(Runner, 0, outputs=outputs)


def test_first_of_several_iterations_is_named():
    class Later(Runner):
        train_dataloader = range(10)

    hook = FiniteCheckHook()
    for Later.iter, value in enumerate([1.0, float('nan'), 2.0, float('inf')]):
        hook.after_train_iter(Later, Later.iter, outputs={'loss': torch.tensor(value)})
    with pytest.raises(FloatingPointError, match=r'iteration 2: .*loss=nan'):
        hook.before_save_checkpoint(Later, dict(state_dict={}))


def test_no_ruined_weight_is_saved():
    state = dict(a=torch.ones(2), steps=torch.tensor(3))
    FiniteCheckHook().before_save_checkpoint(Runner, dict(state_dict=state))
    state['b'] = torch.tensor([1.0, float('inf')])
    with pytest.raises(FloatingPointError, match='iteration 42: b is non-finite'):
        FiniteCheckHook().before_save_checkpoint(Runner, dict(state_dict=state))


@pytest.mark.parametrize('number', [float('nan'), float('inf')])
def test_no_ruined_optimizer_state_is_saved(number):
    """A second moment that has overflowed: the weight is finite, and never moves."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight])
    weight.grad = torch.ones(2)
    optimizer.step()
    content = dict(state_dict=dict(a=weight), optimizer=optimizer.state_dict())
    FiniteCheckHook().before_save_checkpoint(Runner, content)
    optimizer.state[weight]['exp_avg_sq'][0] = number
    with pytest.raises(FloatingPointError, match='state 0.exp_avg_sq is non-finite'):
        FiniteCheckHook().before_save_checkpoint(Runner, content)


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.register_buffer('offset', torch.zeros(1))
        self.cut = torch.nn.Dropout(0.5)

    def forward(self, inputs, data_samples=None, mode='loss'):
        out = self.layer(self.cut(torch.stack(inputs))) + self.offset
        return {'loss': out.square().mean()}


class Run:
    """What the hook needs of a run of several steps of a tiny model."""

    def __init__(self, work_dir, hook, late=False, hub=None, **wrapper):
        torch.manual_seed(0)
        self.work_dir, self.hook, self.seed = str(work_dir), hook, 7
        self.model, self.cfg, self.hooks = Line(), Config(), []
        self.optim_wrapper = OptimWrapper(
            torch.optim.AdamW(self.model.parameters(), lr=0.1, fused=True), **wrapper
        )
        self.train_dataloader = [None] * 100
        self.logger = logging.getLogger('test_finite_check')
        self.iter = self.epoch = 0
        self.message_hub = hub or MessageHub(str(work_dir))
        hook.before_train(self)
        if late:  # what it does where reading a number would be a wait
            hook._guard.reads_late, hook._guard._waits = True, False

    def step(self, number=1.0):
        batch = dict(
            inputs=[torch.tensor([1.0, 2.0]) * number, torch.ones(2)],
            data_samples=[
                ActionDataSample(metainfo=dict(filename=f'{self.iter}{name}.mp4'))
                for name in 'ab'
            ],
        )
        self.weights = [p.detach().clone() for p in self.model.state_dict().values()]
        self.hook.before_train_iter(self, self.iter, batch)
        outputs = self.model.train_step(batch, self.optim_wrapper)
        self.hook.after_train_iter(self, self.iter, batch, outputs)
        self.iter += 1


def check_repeats(run, content):
    """A fresh model, and the step of a report in it."""
    model = Line()
    model.load_state_dict(content['state_dict'])
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), fused=True))
    wrapper.load_state_dict(content['optimizer'])
    torch.rand(3)
    losses, grads = report.repeat_step(
        model, wrapper, content['batch'], content['random_state']
    )
    assert report.digests(grads) == content['gradients']
    for name, value in losses.items():
        assert repr(value.item()) == repr(content['losses'][name])


@pytest.mark.parametrize('late', [False, True])
@pytest.mark.parametrize('number', [float('nan'), 1e30])
@pytest.mark.parametrize('passes', [1, 2])
def test_stops_with_a_report_of_the_step(tmp_path, number, late, passes):
    run = Run(tmp_path, FiniteCheckHook(), late, accumulative_counts=passes)
    for _ in range(4):
        run.step()
    with pytest.raises(FloatingPointError, match=r'iteration 5, rank 0: .*4a.mp4, 4b'):
        run.step(number)
        for _ in range(4):
            run.step()
    (path,) = tmp_path.glob('*')
    assert path.name == 'fault_iter_5_rank_0.pth'
    content = report.read_report(path)
    assert content['paths'] == ['4a.mp4', '4b.mp4'] and content['seed'] == 7
    for weight, kept in zip(run.weights, content['state_dict'].values(), strict=True):
        assert torch.equal(weight, kept)
    assert run.iter == 4 + (passes - 1) + passes * late
    check_repeats(run, content)


@pytest.mark.parametrize('where', ['layer.weight', 'layer.bias', 'offset'])
def test_a_weight_or_buffer_that_is_ruined_stops_the_run(tmp_path, where):
    run = Run(tmp_path, FiniteCheckHook())
    run.step()
    run.model.state_dict()[where].view(-1)[0] = float('nan')
    with pytest.raises(FloatingPointError, match='iteration 2, rank 0: the loss'):
        run.step()


@pytest.mark.parametrize('late', [False, True])
def test_so_many_bad_steps_are_left_out_and_told(tmp_path, late, caplog):
    run = Run(tmp_path, FiniteCheckHook(max_skipped=2), late)
    for step in range(6):
        run.step(float('nan') if step in (1, 3) else 1.0)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(':')[0] for line in lines] == ['iteration 2', 'iteration 4']
    assert '1a.mp4, 1b.mp4' in lines[0] and 'number 2 of at most 2' in lines[1]
    assert not list(tmp_path.glob('*'))
    with pytest.raises(FloatingPointError, match='iteration 7, rank 0: the loss'):
        run.step(float('inf'))
        run.step()
    assert list(tmp_path.glob('fault_iter_7_rank_0.pth'))


def test_a_resumed_run_goes_on_counting(tmp_path):
    run = Run(tmp_path, FiniteCheckHook(max_skipped=1))
    run.step(float('nan'))
    with pytest.raises(FloatingPointError, match='iteration 1, rank 0: the loss'):
        Run(tmp_path, FiniteCheckHook(max_skipped=1), hub=run.message_hub).step(
            float('nan')
        )
    # With a lower limit, one that was reached.
    other = Run(tmp_path, FiniteCheckHook(max_skipped=0), hub=run.message_hub)
    other.step()
    assert not all(map(torch.equal, other.weights, other.model.state_dict().values()))


def test_a_full_disk_does_not_hide_the_cause(tmp_path, monkeypatch):
    monkeypatch.setattr(
        fileio, 'open', lambda *_: open('/dev/full', 'wb'), raising=False
    )
    run = Run(tmp_path, FiniteCheckHook())
    with pytest.raises(
        FloatingPointError, match=r'became non-finite .* No report is written: .*space'
    ):
        run.step(float('nan'))


def test_the_last_step_is_looked_at_before_it_is_saved(tmp_path):
    run = Run(tmp_path, FiniteCheckHook(), late=True)
    run.hooks.append(run.hook)
    run.step(float('nan'))
    with pytest.raises(FloatingPointError, match='iteration 1, rank 0'):
        SafeCheckpointHook().save_now(run)


def test_the_last_step_of_an_epoch_is_looked_at(tmp_path):
    run = Run(tmp_path, FiniteCheckHook(), late=True)
    run.step()
    run.step(float('nan'))
    with pytest.raises(FloatingPointError, match='iteration 2, rank 0'):
        run.hook.after_train_epoch(run)


def test_a_negative_limit_is_rejected():
    with pytest.raises(ValueError, match='max_skipped: expected 0 or more, got -1'):
        FiniteCheckHook(max_skipped=-1)
