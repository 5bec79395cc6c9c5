"""What keeps a run alive is put into any config, once."""

import pytest
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop

from projects.adamae.engine.hooks import StopOnSignalHook
from projects.adamae.launch.safeguards import add_safeguards


@pytest.mark.parametrize(
    ('loop', 'saver', 'stopper'),
    [
        (EpochBasedTrainLoop, CheckpointHook, StopOnSignalHook),
        ('EpochBasedTrainLoop', 'CheckpointHook', 'StopOnSignalHook'),
        (
            'mmengine.runner.EpochBasedTrainLoop',
            'mmengine.hooks.CheckpointHook',
            'projects.adamae.engine.hooks.StopOnSignalHook',
        ),
    ],
)
@pytest.mark.parametrize('place', ['default_hooks', 'custom_hooks'])
def test_classes_are_known_by_any_name(loop, saver, stopper, place):
    hook = dict(type=stopper)
    cfg = Config(
        dict(
            train_cfg=dict(type=loop),
            default_hooks=dict(checkpoint=dict(type=saver, interval=3)),
        )
    )
    if place == 'default_hooks':
        cfg.default_hooks.stop = hook
    else:
        cfg.custom_hooks = [StopOnSignalHook() if stopper is StopOnSignalHook else hook]
    for _ in range(2):  # the second time changes nothing
        add_safeguards(cfg)
        assert cfg.train_cfg.type == 'ResumableEpochTrainLoop'
        assert cfg.default_hooks.checkpoint == dict(
            type='SafeCheckpointHook', interval=3
        )
        hooks = [*cfg.default_hooks.values(), *cfg.custom_hooks]
        assert sum('StopOnSignalHook' in str(hook) for hook in hooks) == 1
        assert len(cfg.custom_hooks) == 3 + (place == 'custom_hooks')
