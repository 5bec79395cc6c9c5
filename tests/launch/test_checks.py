"""Settings that contradict each other."""

import pytest
from mmengine.config import Config
from mmengine.hooks import IterTimerHook

from projects.adamae import launch


def check(**keys):
    launch.check_training(Config(dict(model={}, train_cfg={}, optim_wrapper={}) | keys))


@pytest.mark.parametrize(
    ('hooks', 'key'),
    [
        (dict(custom_hooks=[dict(type='KnnHook')]), r'custom_hooks\.0: KnnHook'),
        (dict(default_hooks=dict(ema=dict(type='EMAHook'))), r'default_hooks\.ema: E'),
    ],
)
def test_hooks_that_need_whole_weights(hooks, key):
    sharded = dict(type='ShardedStrategy')
    with pytest.raises(ValueError, match=key):
        check(strategy=sharded, **hooks)
    check(strategy=dict(type='DDPStrategy'), **hooks)
    check(**hooks)
    # Config would not take a hook that is built.
    cfg = dict(
        model={}, optim_wrapper={}, strategy=sharded, custom_hooks=[IterTimerHook()]
    )
    launch.checks._check_hooks(cfg)


@pytest.mark.parametrize(
    ('switch', 'message'),
    [
        (dict(disable=True, mode='fastest'), 'mode'),
        (dict(backend='nonsense'), 'backend'),
        (dict(color=1), 'color'),
        (dict(dynamic='yes'), 'bool'),
        (dict(options='fast'), 'fast'),
        ('max-autotune', 'compile.mode=max-autotune'),
        (1, '1'),
    ],
)
def test_arguments_of_compile(switch, message):
    with pytest.raises(ValueError, match=f'compile: expected .*{message}'):
        check(compile=switch)


def test_compile_as_it_should_be():
    for switch in (None, False, True, dict(disable=True), dict(mode='lite')):
        check(compile=switch)


def test_a_schedule_longer_than_the_run():
    schedule = [dict(type='LinearLR', end=40), dict(type='CosineAnnealingLR', begin=40)]
    check(train_cfg=dict(max_epochs=41), param_scheduler=schedule)
    message = r'begins after 40 epochs.* has only 40.*param_scheduler\.0\.end='
    with pytest.raises(ValueError, match=message):
        check(train_cfg=dict(max_epochs=40), param_scheduler=schedule)
    # One epoch cannot be divided.
    with pytest.raises(ValueError, match='has only 1; .*param_scheduler=None'):
        check(train_cfg=dict(max_epochs=1), param_scheduler=schedule)
    check(train_cfg=dict(max_epochs=1), param_scheduler=None)


@pytest.mark.parametrize(
    ('constructor', 'backbone'),
    [
        ('LearningRateDecayOptimizerConstructor', 'MaskedVisionTransformer'),
        ('TokenLayerDecayOptimizerConstructor', 'SeparableVisionTransformer'),
    ],
)
def test_layer_decay_has_the_layers_of_the_encoder(constructor, backbone):
    def check_layers(num_layers, **wrapper):
        wrapper['paramwise_cfg'] = dict(num_layers=num_layers)
        model = dict(backbone=dict(type=backbone, depth=24))
        check(model=model, optim_wrapper=wrapper)

    check_layers(24, constructor=constructor)
    check_layers(12)
    message = r'paramwise_cfg\.num_layers: expected 24, as in model\.backbone\.depth'
    with pytest.raises(ValueError, match=message):
        check_layers(12, constructor=constructor)


def test_views_are_limited_for_one_video_per_batch():
    def cfg(limit, size):
        loader = dict(batch_size=size, dataset=dict(type='VideoDataset'))
        model = dict(test_cfg=dict(max_testing_views=limit))
        return dict(model=model, val_dataloader=loader, test_dataloader=loader)

    message = 'max_testing_views=2: expected one video per batch, got {}_dataloader'
    with pytest.raises(ValueError, match=message.format('val')):
        check(**cfg(2, size=4))
    with pytest.raises(ValueError, match=message.format('test')):
        launch.check_testing(Config(cfg(2, size=4)))
    for limit, size in ((2, 1), (None, 4)):
        check(**cfg(limit, size))
        launch.check_testing(Config(cfg(limit, size)))


def test_loggers_whose_package_is_missing(monkeypatch):
    monkeypatch.setattr(launch.checks, 'find_spec', lambda name: None)
    backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
    check(visualizer=dict(type='ActionVisualizer', vis_backends=backends))
    for kind, package in (('Wandb', 'wandb'), ('MLflow', 'mlflow')):
        backends[1] = dict(type=f'mmengine.{kind}VisBackend')
        message = rf'visualizer\.vis_backends\.1: .*: pip install {package}'
        with pytest.raises(ValueError, match=message):
            check(visualizer=dict(vis_backends=backends))
        with pytest.raises(ValueError, match=message):
            launch.check_testing(Config(dict(visualizer=dict(vis_backends=backends))))


def test_loggers_that_are_no_list():
    with pytest.raises(ValueError, match=r'vis_backends: .*vis_backends\.1\.type='):
        check(visualizer=dict(vis_backends="[dict(type='WandbVisBackend')]"))
