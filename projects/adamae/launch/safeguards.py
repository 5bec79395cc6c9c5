"""What keeps a run alive, put into configs that come without it."""

from collections.abc import Iterator
from typing import Any

from mmaction.datasets import RawframeDataset, RepeatAugDataset, VideoDataset
from mmaction.registry import DATASETS, HOOKS, LOOPS
from mmengine.config import Config
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import Registry
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from projects.adamae_command import docs_page

from ..datasets import (
    TolerantRawframeDataset,
    TolerantRepeatAugDataset,
    TolerantVideoDataset,
)
from ..datasets.from_config import iter_datasets
from ..datasets.unreadable import UnreadableVideos
from ..engine.hooks import (
    CheckpointCheckHook,
    GradientBucketsHook,
    RandomStateHook,
    SafeCheckpointHook,
    StopOnSignalHook,
    UnreadableVideosHook,
)
from ..engine.loops import ResumableEpochTrainLoop, ResumableIterTrainLoop
from .distributed import warn

# In place of MMEngine's, and MMAction2's, which end a run at the first video that
# cannot be read. They take the same arguments.
_REPLACEMENTS: dict[type, type] = {
    EpochBasedTrainLoop: ResumableEpochTrainLoop,
    IterBasedTrainLoop: ResumableIterTrainLoop,
    CheckpointHook: SafeCheckpointHook,
    VideoDataset: TolerantVideoDataset,
    RawframeDataset: TolerantRawframeDataset,
    RepeatAugDataset: TolerantRepeatAugDataset,
}
# A list of a config's own replaces that of the recipes.
_HOOKS = CheckpointCheckHook, GradientBucketsHook, RandomStateHook, StopOnSignalHook


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
    _replace(LOOPS, loop)

    # Without an entry of its own, MMEngine has its hook save every epoch.
    default = {'checkpoint': dict(interval=1), **(cfg.get('default_hooks') or {})}
    if default['checkpoint'] is not None:
        default['checkpoint'] = {'type': 'CheckpointHook', **default['checkpoint']}
        _replace(HOOKS, default['checkpoint'])
    cfg.default_hooks = default

    present = [kind for kind, _ in _iter_hooks(cfg)]
    missing = [dict(type=kind.__name__) for kind in _HOOKS if kind not in present]
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), *missing]
    unreadable_videos_hook(cfg)
    _tolerate_unreadable(cfg)


def unreadable_videos_hook(cfg: Config) -> Any:
    """Give the config of a run's ``UnreadableVideosHook``, which it gets if need be."""
    for kind, hook in _iter_hooks(cfg):
        if kind is UnreadableVideosHook and isinstance(hook, dict):
            return hook
    default, name = cfg.get('default_hooks') or {}, 'unreadable_videos'
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
            if _replace(DATASETS, dataset):
                warn(
                    f'{name}.type: reading {kind.__name__} as {dataset["type"]}, '
                    'which goes on when a video cannot be read '
                    f'({docs_page("data", "Unreadable videos")})'
                )
            elif isinstance(kind, type) and not issubclass(kind, UnreadableVideos):
                warn(
                    f'{name}.type: {kind.__name__} may end the run at the first '
                    'video that cannot be read; put UnreadableVideos in front of its '
                    f'base class ({docs_page("data", "Unreadable videos")})'
                )


def _iter_hooks(cfg: Config) -> Iterator[tuple[Any, Any]]:
    """Yield class and config of every hook; hooks that are built pass as they are."""
    default, custom = cfg.get('default_hooks') or {}, cfg.get('custom_hooks') or ()
    for hook in (*default.values(), *custom):
        if isinstance(hook, dict):
            yield registered_class(HOOKS, hook.get('type')), hook
        elif isinstance(hook, Hook):
            yield type(hook), hook


def _replace(registry: Registry, cfg: Any) -> bool:
    """Put our class in the place of another one's in a config; False if there is none.

    One of another project that inherits from such a class stays.
    """
    kind = _REPLACEMENTS.get(registered_class(registry, cfg.get('type')))
    if kind is not None:
        cfg['type'] = kind.__name__
    return kind is not None


def registered_class(registry: Registry, kind: Any) -> Any:
    """Look a class up by its registered name; a class passes through."""
    return registry.get(kind) if isinstance(kind, str) else kind
