"""Runs that come to nothing are said to, and no others."""

from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from projects.adamae.launch import report_schedule
from projects.adamae.launch.schedule_report import iter_warnings
from tests.helpers import CONFIGS

WARM_UP = dict(type='LinearLR', start_factor=0.01, begin=0, end=10)
COSINE = dict(type='CosineAnnealingLR', begin=10)
TRAINING = 'adamae_* maest_* videomae_* ablations/* demo/motion_*'
# Videos of the real data sets, those of the demo's as made by default, and a folder of
# a few thousand, see docs.
VIDEOS = dict(ssv2=168_913, k400=240_000, k600=366_000, k700=530_000)
VIDEOS |= dict(ucf101=9537, hmdb51=3570, diving48=15_027, motion=1600, folder=3000)


def warnings(length=100, by_epoch=True, steps=50, passes=1, **cfg):
    cfg = dict(train_cfg={}, **cfg)
    cfg['optim_wrapper'] = dict(accumulative_counts=passes)
    return [*iter_warnings(Config(cfg), length, by_epoch, steps)]


@pytest.mark.parametrize(
    ('cfg', 'words'),
    [
        (dict(length=9, steps=10), ('90 times', '9 epochs of 10', 'max_epochs=10 or')),
        (dict(passes=80), ('63 times', '80 steps an update', 'max_epochs=159')),
        (dict(length=99, by_epoch=False), ('99 iterations', 'max_iters=100')),
        (
            dict(length=8, param_scheduler=[WARM_UP]),
            ('takes 10 epochs', 'has 8', 'never reaches', 'param_scheduler.0.end=1'),
        ),
        (
            dict(length=15, param_scheduler=[WARM_UP, COSINE]),
            ('more than half', 'param_scheduler.0.end=2 param_scheduler.1.begin=2'),
        ),
        (
            dict(param_scheduler=[WARM_UP, dict(COSINE, end=50)]),
            ('param_scheduler.1.end', 'after 50', 'the last 50', '1.end=100'),
        ),
        (
            dict(param_scheduler=dict(COSINE, end=800)),
            ('param_scheduler.0.end', 'after 800', 'still on its way', 'end=100'),
        ),
        (
            dict(param_scheduler=dict(COSINE, T_max=20)),
            ('0.T_max', 'after 30', 'rises again', 'T_max=90'),
        ),
        (
            dict(param_scheduler=dict(COSINE, T_max=200, end=210)),
            ('0.end', 'after 210', 'still on its way', 'end=100'),
        ),
        (
            dict(by_epoch=False, length=5000, param_scheduler=[COSINE]),
            ('by_epoch=True', 'counts iterations', 'by_epoch=False'),
        ),
        (
            dict(param_scheduler=dict(COSINE, by_epoch=False, end=100)),
            ('after 100 iterations', 'after 5000', 'end=5000'),
        ),
        (dict(default_hooks=dict(checkpoint=None)), ('checkpoint=None', 'no weights')),
        (
            dict(default_hooks=dict(checkpoint=dict(interval=200, save_last=False))),
            ('interval=200', '100 epochs', 'save_last=True'),
        ),
    ],
)
def test_what_comes_to_nothing_is_said_with_its_option(cfg, words):
    (message,) = warnings(**cfg)
    assert all(word in message for word in words), message


def test_a_run_that_is_never_validated():
    cfg = Config(dict(train_cfg=dict(val_begin=101), val_dataloader=dict(x=1)))
    cfg.optim_wrapper = {}
    (message,) = iter_warnings(cfg, 100, True, 50)
    assert 'never validated' in message and 'val_begin=1,' in message


@pytest.mark.parametrize(
    'cfg',
    [
        dict(param_scheduler=[WARM_UP, COSINE]),
        dict(param_scheduler=[WARM_UP, dict(COSINE, T_max=90, end=100)]),
        dict(param_scheduler=dict(type='MultiStepLR', milestones=[30, 60])),
        dict(param_scheduler=dict(COSINE, T_max=95)),
        dict(param_scheduler=None),
        # Saved and validated after the last epoch.
        dict(default_hooks=dict(checkpoint=dict(interval=200))),
        dict(default_hooks=dict(checkpoint=dict(interval=-1, save_best='auto'))),
        dict(
            by_epoch=False,
            length=5000,
            param_scheduler=[dict(COSINE, convert_to_iter_based=True)],
        ),
    ],
)
def test_nothing_to_say(cfg):
    assert warnings(**cfg) == []


@pytest.mark.parametrize(
    'path',
    sorted(p for pattern in TRAINING.split() for p in CONFIGS.glob(f'{pattern}.py')),
    ids=lambda path: path.stem,
)
def test_shipped_recipes_are_sound(path):
    cfg = Config.fromfile(path)
    if 'optim_wrapper' not in cfg:  # a base
        return
    dataset = cfg.train_dataloader.dataset
    where = str(dataset.get('ann_file') or 'folder')
    videos = next(n for name, n in VIDEOS.items() if name in where)
    steps = videos // cfg.train_dataloader.batch_size
    for world in (1, 8, 64) if videos > 10_000 else (1, 2):
        length = cfg.train_cfg.max_epochs
        found = [*iter_warnings(cfg, length, True, steps // world)]
        assert not found, (world, found)


@pytest.mark.parametrize(
    ('kind', 'unit'), [(EpochBasedTrainLoop, 'epochs'), (IterBasedTrainLoop, 'iters')]
)
def test_the_length_is_that_of_the_loop(warned, kind, unit):
    loop = object.__new__(kind)
    loop._max_epochs, loop._max_iters, loop.dataloader = 3, 30, range(10)
    cfg = Config(dict(train_cfg={}, optim_wrapper={}))
    report_schedule(SimpleNamespace(train_loop=loop, cfg=cfg))
    (message,) = warned
    assert message.startswith(f'train_cfg.max_{unit}=') and '30 times' in message
