"""What keeps a run alive, put into configs that come without it."""

from typing import Any

from mmaction.datasets import RawframeDataset, RepeatAugDataset, VideoDataset
from mmaction.registry import DATASETS, HOOKS
from mmengine.config import Config
from mmengine.registry import Registry

from ..datasets import (
    TolerantRawframeDataset,
    TolerantRepeatAugDataset,
    TolerantVideoDataset,
)
from ..datasets.from_config import iter_datasets
from ..datasets.unreadable import UnreadableVideos
from ..engine.hooks import UnreadableVideosHook
from .distributed import warn

# In place of MMEngine's, whose arguments they take.
_LOOPS = {
    'EpochBasedTrainLoop': 'ResumableEpochTrainLoop',
    'IterBasedTrainLoop': 'ResumableIterTrainLoop',
}
_CHECKPOINT_HOOKS = {'CheckpointHook': 'SafeCheckpointHook'}
# In place of MMAction2's, which end a run at the first video that cannot be read.
_DATASETS = {
    VideoDataset: TolerantVideoDataset,
    RawframeDataset: TolerantRawframeDataset,
    RepeatAugDataset: TolerantRepeatAugDataset,
}
# A list of a config's own replaces that of the recipes.
_HOOKS = (
    'CheckpointCheckHook',
    'GradientBucketsHook',
    'RandomStateHook',
    'StopOnSignalHook',
)


def add_safeguards(cfg: Config) -> None:
    """Put what a run needs to survive into the config of a training run, in place.

    Loops and checkpoint hook of MMEngine and datasets of MMAction2 are replaced by
    those of this package that take the same arguments; hooks that are missing are
    added.

    Args:
        cfg (Config): with ``train_cfg``.
    """
    loop = cfg.train_cfg
    by_epoch = loop.pop('by_epoch', None)
    if by_epoch is not None:
        loop.type = 'EpochBasedTrainLoop' if by_epoch else 'IterBasedTrainLoop'
    loop.type = _LOOPS.get(loop.get('type'), loop.get('type'))

    # Without an entry of its own, MMEngine has its hook save every epoch.
    default = {'checkpoint': dict(interval=1), **(cfg.get('default_hooks') or {})}
    saving = default['checkpoint']
    if saving is not None:
        kind = saving.get('type', 'CheckpointHook')
        default['checkpoint'] = {**saving, 'type': _CHECKPOINT_HOOKS.get(kind, kind)}
    cfg.default_hooks = default

    hooks = [*(cfg.get('custom_hooks') or ())]
    present = {hook['type'] for hook in hooks}
    hooks += [dict(type=name) for name in _HOOKS if name not in present]
    cfg.custom_hooks = hooks
    unreadable_videos_hook(cfg)
    _tolerate_unreadable(cfg)


def unreadable_videos_hook(cfg: Config) -> Any:
    """Give the config of a run's ``UnreadableVideosHook``, which it gets if need be."""
    default, name = cfg.get('default_hooks') or {}, 'unreadable_videos'
    for hook in (*default.values(), *(cfg.get('custom_hooks') or ())):
        kind = hook.get('type') if isinstance(hook, dict) else None
        if registered_class(HOOKS, kind) is UnreadableVideosHook:
            return hook
    # Such as its other settings alone, by --cfg-options.
    hook = dict(type='UnreadableVideosHook', **(default.get(name) or {}))
    cfg.default_hooks = {**default, name: hook}
    return cfg.default_hooks[name]


def _tolerate_unreadable(cfg: Config) -> None:
    """Let all datasets of a training run go on without unreadable videos, in place.

    A dataset of another project is left as it is, and warned of.
    """
    for split in ('train', 'val'):
        key = f'{split}_dataloader'
        for name, dataset in iter_datasets(
            (cfg.get(key) or {}).get('dataset') or {}, f'{key}.dataset'
        ):
            kind = registered_class(DATASETS, dataset.get('type'))
            if kind in _DATASETS:
                dataset['type'] = _DATASETS[kind].__name__
                warn(
                    f'{name}.type: reading {kind.__name__} as {dataset["type"]}, '
                    'which goes on when a video cannot be read (docs/data.md, '
                    '"Unreadable videos")'
                )
            elif isinstance(kind, type) and not issubclass(kind, UnreadableVideos):
                warn(
                    f'{name}.type: {kind.__name__} may end the run at the first '
                    'video that cannot be read; put UnreadableVideos in front of its '
                    'base class (docs/data.md, "Unreadable videos")'
                )


def registered_class(registry: Registry, kind: Any) -> Any:
    """Look a class up by its registered name; a class passes through."""
    return registry.get(kind) if isinstance(kind, str) else kind
