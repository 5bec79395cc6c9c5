"""The learning rate follows the clips of an update, and the log says how."""

from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import FlexibleRunner

from projects.adamae import launch
from projects.adamae.launch import learning_rate
from tests.helpers import load_tool

PER_CLIP = "dict(type='PerClip', repeats=3, transforms=[]),"
REPEATED = """
dataset.update(type='TolerantRepeatAugDataset', num_repeats=3)
dataset['pipeline'][0]['type'] = 'PyAVSkipInit'
dataset['pipeline'][2]['type'] = 'PyAVSkipDecode'
train_dataloader['collate_fn'] = dict(type='repeat_pseudo_collate')
"""


@pytest.fixture
def logged(monkeypatch, warned):
    """What was logged; warnings are in ``warned``."""
    lines = []
    monkeypatch.setattr(learning_rate, 'print_log', lambda text, *_: lines.append(text))
    return lines


@pytest.fixture
def rates(toy, tmp_path):
    """The rates that a run begins with, and its config."""

    def start(*arguments, changes='', **options):
        text = toy.read_text() + changes
        (tmp_path / 'toy.py').write_text(text)
        options = {'auto_scale_lr.base_batch_size': 4, **options}
        args = load_tool('train').parse_args(
            [
                *(str(tmp_path / 'toy.py'), *arguments, '--no-validate'),
                *('--work-dir', str(tmp_path / 'run'), '--cfg-options'),
                *(f'{key}={value}' for key, value in options.items()),
            ]
        )
        cfg = launch.load_config(args)
        launch.apply_train_arguments(cfg, args)
        launch.disable_amp_on_cpu(cfg)
        runner = RUNNERS.build(cfg)
        launch.scale_learning_rate(runner)
        if isinstance(runner, FlexibleRunner):
            runner.train()
        else:
            wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
            runner.scale_lr(wrapper, runner.auto_scale_lr)
            runner.optim_wrapper = wrapper
        start.runner = runner
        return runner.optim_wrapper.get_lr()['lr'], cfg

    return start


ENABLED = {'auto_scale_lr.enable': True}


@pytest.mark.parametrize('arguments', [[], ['--auto-scale-lr']])
@pytest.mark.parametrize(
    ('size', 'passes', 'update'),
    [
        (8, 1, '8 videos'),
        (2, 4, '2 videos x 4 passes (accumulative_counts) = 8 clips'),
    ],
)
def test_an_update_of_twice_the_clips_doubles_it(
    rates, logged, arguments, size, passes, update
):
    options = {
        'train_dataloader.batch_size': size,
        'optim_wrapper.accumulative_counts': passes,
        'auto_scale_lr.enable': not arguments,
    }
    rate, cfg = rates(*arguments, **options)
    assert rate == [pytest.approx(2e-3)]
    assert logged == [
        'learning rate: 0.001 is for 4 clips an update '
        f'(auto_scale_lr.base_batch_size); an update takes {update}, so it becomes '
        '0.001 x 8 / 4 = 0.002'
    ]
    # The config that is saved scales as this one, if a run starts from it.
    assert cfg.auto_scale_lr == dict(enable=True, base_batch_size=4)


def test_what_is_logged_as_the_base_is_scaled_too(rates):
    """MMEngine leaves it as it was: with several groups, the log shows both."""
    changes = """
optim_wrapper['optimizer']['weight_decay'] = 0.1
optim_wrapper['paramwise_cfg'] = dict(norm_decay_mult=0.0)
"""
    options = {**ENABLED, 'train_dataloader.batch_size': 8}
    rates(changes=changes, **options)
    wrapper = rates.runner.optim_wrapper
    assert wrapper.base_param_settings['lr'] == pytest.approx(2e-3)
    assert {g['lr'] for g in wrapper.optimizer.param_groups} == {
        wrapper.base_param_settings['lr']
    }


def test_several_optimizers_are_left_to_mmengine(rates, logged):
    changes = "del optim_wrapper['optimizer']['lr']"
    options = {**ENABLED, 'optim_wrapper.accumulative_counts': 8}
    rate, _ = rates(changes=changes, **options)
    assert rate == [pytest.approx(2e-3)]  # AdamW's default
    assert logged[0].startswith('learning rate: it is for 4 clips an update')
    assert logged[0].endswith('= 8 clips, so it becomes 8 / 4 of it')


def test_asked_for_twice_is_scaled_once(rates):
    options = {**ENABLED, 'train_dataloader.batch_size': 8}
    assert rates('--auto-scale-lr', **options)[0] == [pytest.approx(2e-3)]


@pytest.mark.parametrize(
    'changes',
    [
        "dataset['pipeline'][1]['num_clips'] = 3",
        f"dataset['pipeline'].insert(3, {PER_CLIP[:-1]})",
        REPEATED,
    ],
)
def test_clips_are_counted_and_not_videos(rates, logged, changes):
    options = {**ENABLED, 'train_dataloader.batch_size': 2}
    rate, _ = rates(changes=changes, **options)
    assert rate == [pytest.approx(1.5e-3)]
    assert '2 videos x 3 clips = 6 clips, so it becomes 0.001 x 6 / 4' in logged[0]


def test_own_rates_and_batches(rates, logged, warned):
    """Without the rule the rate stays, and the log says what it is for."""
    assert rates(**{'train_dataloader.batch_size': 2})[0] == [1e-3]
    message = (
        'is for 4 clips an update (auto_scale_lr.base_batch_size), but an update takes '
        '2 videos, 0.5 times as many, for which it would be 0.001 x 2 / 4 = 0.0005: '
        'add --auto-scale-lr, or set auto_scale_lr.base_batch_size=2'
    )
    assert [message in text for text in warned if 'learning rate' in text] == [True]
    assert logged == []
    assert rates(**{'train_dataloader.batch_size': 4})[0] == [1e-3]
    assert logged.pop().endswith('base_batch_size), and an update takes 4 videos')
    rates(**{'auto_scale_lr.base_batch_size': None})
    assert logged == [
        'learning rate: 0.001, whatever the batch; an update takes 1 video'
    ]


def test_ends_that_stay_are_warned_of(rates, warned):
    options = {**ENABLED, 'param_scheduler.0.eta_min': 1e-5}
    rates(**options)
    assert any('param_scheduler.0.eta_min=1e-05 is not scaled' in w for w in warned)
    warned.clear()
    rates(**options, **{'train_dataloader.batch_size': 4})
    assert not any('is not scaled' in w for w in warned)


def test_no_base_is_an_error(rates):
    options = {**ENABLED, 'auto_scale_lr.base_batch_size': None}
    with pytest.raises(ValueError, match='auto_scale_lr: expected base_batch_size'):
        rates(**options)


class PairedSampler(list):
    """Batches that state no size."""

    def __init__(self, sampler, **_):
        super().__init__([i, i] for i in sampler)
        self.sampler = sampler


def test_batches_of_a_sampler_of_ones_own(rates, logged):
    changes = f"""
from {__name__} import PairedSampler
train_dataloader['batch_sampler'] = dict(type=PairedSampler)
"""
    with pytest.raises(ValueError, match='expected train_dataloader.batch_size, which'):
        rates(changes=changes, **ENABLED)
    rates(changes=changes)
    assert logged == []


def test_runs_with_a_strategy_scale_as_others(rates, logged):
    changes = """
runner_type = 'FlexibleRunner'
strategy = dict(type='SingleDeviceStrategy')
param_scheduler = None
env_cfg = dict()
"""
    options = {'optim_wrapper.accumulative_counts': 2, **ENABLED}
    rate, _ = rates(changes=changes, **options)
    assert rate == [pytest.approx(5e-4)]
    assert '2 passes (accumulative_counts) = 2 clips' in logged[0]


def test_all_processes_count(logged):
    cfg = Config(
        dict(
            auto_scale_lr=dict(enable=True, base_batch_size=256),
            optim_wrapper=dict(optimizer=dict(lr=1e-3), accumulative_counts=2),
            train_dataloader=dict(dataset=dict(type='Own')),
        )
    )
    batches = SimpleNamespace(batch_size=4)
    loop = SimpleNamespace(dataloader=SimpleNamespace(batch_sampler=batches))
    runner = SimpleNamespace(
        cfg=cfg, train_loop=loop, world_size=8, optim_wrapper=cfg.optim_wrapper
    )
    launch.scale_learning_rate(runner)
    assert '8 processes x 4 videos x 2 passes (accumulative_counts) = 64' in logged[0]
    assert runner.optim_wrapper['optimizer']['lr'] == pytest.approx(2.5e-4)
    assert runner.auto_scale_lr['base_batch_size'] == 8 * 4  # MMEngine's ratio is 1
    assert cfg.optim_wrapper.optimizer.lr == 1e-3
