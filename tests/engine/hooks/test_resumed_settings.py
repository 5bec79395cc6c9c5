"""The learning rate of a resumed run is that of an unbroken run of its config."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from projects.adamae.engine.hooks import CheckpointCheckHook
from projects.adamae.engine.hooks.resumed_settings import relocate_checkpoints

VIDEOS = 8
WARMUP_AND_COSINE = [
    dict(
        type='LinearLR',
        start_factor=1e-2,
        by_epoch=True,
        begin=0,
        end=2,
        convert_to_iter_based=True,
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=0.01,
        by_epoch=True,
        begin=2,
        convert_to_iter_based=True,
    ),
]
MOMENTUM = dict(type='LinearMomentum', start_factor=0.5, end=3, by_epoch=True)
STEPS = [
    dict(type='LinearLR', start_factor=0.1, end=5, by_epoch=False),
    dict(type='MultiStepLR', milestones=[2, 4], by_epoch=True),
]


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode):
        return {'loss': self.layer(torch.stack(inputs)).square().mean()}


class Record(Hook):
    """Keep rates and momenta of every iteration as the step of it uses them."""

    def __init__(self):
        self.values = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        wrapper = runner.optim_wrapper
        values = wrapper.get_lr() | wrapper.get_momentum()
        values['decay'] = [g['weight_decay'] for g in wrapper.optimizer.param_groups]
        self.values.append(values)


def train(
    work_dir,
    name,
    epochs=6,
    batch=2,
    lr=0.1,
    optimizer='SGD',
    decay=0.05,
    scheduler=WARMUP_AND_COSINE,
    scale=None,
    resume=None,
    several_groups=True,
):
    """Run, or go on to the end; returns what was recorded, by iteration."""
    inputs = list(torch.arange(2.0 * VIDEOS).view(VIDEOS, 2) / 100)
    own = dict(momentum=0.9) if optimizer == 'SGD' else dict(betas=(0.9, 0.95))
    wrapper = dict(optimizer=dict(type=optimizer, lr=lr, weight_decay=decay, **own))
    if several_groups:
        wrapper['paramwise_cfg'] = dict(bias_lr_mult=2, bias_decay_mult=0)
    record = Record()
    runner = Runner(
        model=Line(),
        work_dir=str(work_dir),
        train_dataloader=DataLoader(inputs, batch, collate_fn=lambda b: dict(inputs=b)),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=wrapper,
        param_scheduler=scheduler,
        auto_scale_lr=dict(enable=True, base_batch_size=scale) if scale else None,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        custom_hooks=[CheckpointCheckHook(), record],
        load_from=resume,
        resume=bool(resume),
        default_scope='mmaction',
        log_level='WARNING',
        experiment_name=f'{work_dir.parent.name}_{name}'.replace(' ', '_'),
    )
    runner.train()
    return record.values


def flat(values):
    return torch.tensor([sum(v.values(), []) for v in values], dtype=torch.float64)


CHANGES = {
    'nothing': ({}, {}, None),
    'smaller batch': ({}, dict(batch=1), 'iterations per epoch 4 -> 8'),
    'larger batch': ({}, dict(batch=4), 'iterations per epoch 4 -> 2'),
    'rate': ({}, dict(lr=0.02), 'learning rate 0.2 -> 0.04, at this point of'),
    'scaled rate': ({}, dict(scale=1), 'learning rate 0.2 -> 0.4, at this'),
    'longer': ({}, dict(epochs=9), 'max_epochs 6 -> 9, at this point of the schedule'),
    'decay': ({}, dict(decay=0.1), 'checkpoint: weight_decay 0.05 -> 0.1'),
    'all': (
        dict(optimizer='AdamW', several_groups=False),
        dict(
            batch=1, lr=0.3, epochs=7, scale=4, scheduler=[*WARMUP_AND_COSINE, MOMENTUM]
        ),
        'iterations per epoch 4 -> 8, max_epochs 6 -> 7, learning rate 0.1 -> 0.075',
    ),
    'momentum': (
        dict(scheduler=[*WARMUP_AND_COSINE, MOMENTUM]),
        dict(epochs=7),
        'max_epochs 6 -> 7',
    ),
    'no schedule': ({}, dict(scheduler=None, lr=0.3), 'learning rate 0.2 -> 0.6'),
    'both units': (dict(scheduler=STEPS), dict(batch=4, lr=1.0), 'learning rate 0.2'),
    'other schedule': (
        {},
        dict(scheduler=STEPS),
        'at this point of the schedule 0.171004 -> 0.02',
    ),
}


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
    """Runs from the beginning to the end, each once: folder and what was recorded."""
    runs = {}

    def run(**options):
        if repr(options) not in runs:
            folder = tmp_path_factory.mktemp('run') / 'work'
            runs[repr(options)] = folder, train(folder, 'whole', **options)
        return runs[repr(options)]

    return run


@pytest.fixture(autouse=True)
def _quick_start(monkeypatch):
    monkeypatch.setattr('mmengine.runner.runner.collect_env', dict)


@pytest.mark.parametrize('name', CHANGES)
def test_rates_are_those_of_an_unbroken_run(tmp_path, unbroken, capsys, name):
    old, new, line = CHANGES[name]
    folder, _ = unbroken(**old)
    _, expected = unbroken(**old | new)
    capsys.readouterr()
    checkpoint = str(folder / 'epoch_3.pth')
    values = train(tmp_path / 'more', name, **old | new, resume=checkpoint)
    length = VIDEOS // (old | new).get('batch', 2)
    assert len(values) == len(expected) - 3 * length
    assert torch.equal(flat(values), flat(expected[3 * length :]))
    log = capsys.readouterr().out.splitlines()
    told = [told for told in log if 'Resumed with the settings' in told]
    assert len(told) == bool(line)
    assert not line or line in told[0]
    last = torch.load(tmp_path / f'more/epoch_{(old | new).get("epochs", 6)}.pth')
    assert last['meta']['iter'] == len(expected)


@pytest.mark.parametrize('epochs', [3, 4])
def test_a_run_that_is_at_its_end_says_so(tmp_path, unbroken, capsys, epochs):
    folder, _ = unbroken()
    resume = str(folder / 'epoch_3.pth')
    steps = train(tmp_path / 'more', f'{epochs}', epochs=epochs, resume=resume)
    line = 'Nothing is left to train: the checkpoint is at 3 of train_cfg.max_epoch'
    assert (line in capsys.readouterr().out) == (not steps) == (epochs < 4)


def test_a_schedule_of_metrics_goes_on_as_saved(tmp_path, unbroken, capsys):
    plateau = [dict(type='ReduceOnPlateauLR', monitor='loss', by_epoch=True)]
    folder, _ = unbroken(scheduler=plateau)
    resume = str(folder / 'epoch_3.pth')
    values = train(tmp_path, 'more', scheduler=plateau, lr=1.0, resume=resume)
    assert {max(v['lr']) for v in values} == {0.2}
    assert 'but the schedule, as it depends on metrics' in capsys.readouterr().out


def test_a_copied_run_removes_no_checkpoint_of_the_original():
    info = dict(best_ckpt='/old/run/best_epoch_1.pth', last_ckpt='/old/run/epoch_1.pth')
    for out_dir, folder in ((None, '/new/run'), ('/out', '/out/run')):
        runner = SimpleNamespace(
            work_dir='/new/run', hooks=[CheckpointHook(out_dir=out_dir)]
        )
        content = dict(message_hub=dict(runtime_info=dict(info, epoch=1)))
        relocate_checkpoints(runner, content)
        assert content['message_hub']['runtime_info'] == dict(
            best_ckpt=f'{folder}/best_epoch_1.pth',
            last_ckpt=f'{folder}/epoch_1.pth',
            epoch=1,
        )
