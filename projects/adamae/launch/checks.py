"""What is wrong in a config, found before anything is built."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from mmaction.datasets.transforms import RawFrameDecode
from mmaction.engine.optimizers import LearningRateDecayOptimizerConstructor
from mmaction.evaluation import AccMetric
from mmaction.models.backbones.vit_mae import VisionTransformer
from mmaction.models.losses import CrossEntropyLoss
from mmaction.registry import (
    DATASETS,
    HOOKS,
    METRICS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    TRANSFORMS,
    VISBACKENDS,
)
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import STRATEGIES, Registry
from mmengine.runner import Runner

from ..datasets.from_config import SPLITS, innermost, iter_split_datasets
from ..datasets.unreadable import UnreadableVideos
from ..engine.hooks import KnnHook
from ..engine.hooks.compile_hook import compile_options
from ..engine.sharded_strategy import ShardedStrategy
from .class_checks import check_classes, check_names
from .configs import require_keys
from .data_checks import check_data
from .options import find_value
from .paths import is_remote, require_checkpoint
from .places import check_folder, check_shared_memory
from .safeguards import registered_class, unreadable_videos_hook

# What MMEngine's backends import when the run begins.
_LOGGER_PACKAGES = {
    'AimVisBackend': 'aim',
    'ClearMLVisBackend': 'clearml',
    'DVCLiveVisBackend': 'dvclive',
    'MLflowVisBackend': 'mlflow',
    'NeptuneVisBackend': 'neptune',
    'WandbVisBackend': 'wandb',
}


def check_training(cfg: Config) -> None:
    """Check the config of a training run against itself and against the disk.

    Args:
        cfg (Config): the config; its validation set is checked if it has one.

    Raises:
        FileNotFoundError: if files of the datasets, or weights that a part of the
            model starts with, are missing.
        ValueError: if settings contradict each other or the annotation files, or such
            weights cannot be loaded.
    """
    _check_pretrained(cfg.model, 'model')
    _check_schedule(cfg)
    _check_layer_decay(cfg)
    compile_options(cfg.get('compile', False))
    _check_hooks(cfg)
    _check_loggers(cfg)
    out_dir = find_value(cfg.to_dict(), 'default_hooks.checkpoint.out_dir')
    if out_dir and not is_remote(out_dir):
        check_folder('default_hooks.checkpoint.out_dir', out_dir)
    _check_views(cfg, 'val')
    share = unreadable_videos_hook(cfg).get('max_share')
    check_data(cfg, ('train', 'val'), UnreadableVideos, share)
    check_classes(cfg, ('train', 'val'))
    check_shared_memory(cfg, ('train', 'val'))
    _check_many_hot(cfg, ('train', 'val'))


def check_testing(cfg: Config, skip_unreadable: bool = False) -> None:
    """Check the config of a test, as :func:`check_training` does for training.

    Args:
        cfg (Config): the config.
        skip_unreadable (bool): whether the test may go on without some of its videos.
            Defaults to False.

    Raises:
        FileNotFoundError: as there.
        ValueError: as there, and if ``skip_unreadable`` meets a dataset that cannot.
    """
    _check_loggers(cfg)
    _check_views(cfg, 'test')
    if skip_unreadable:
        _check_skipping(cfg)
    check_data(cfg, ('test',), UnreadableVideos if skip_unreadable else ())
    check_classes(cfg, ('test',))
    check_shared_memory(cfg, ('test',))
    _check_many_hot(cfg, ('test',))


def check_predicting(cfg: Config, config: str) -> None:
    """Check that a config says how to classify video files.

    Args:
        cfg (Config): the config.
        config (str): its file, for messages.

    Raises:
        FileNotFoundError: if there is no file of the classes' names.
        ValueError: if it has no classifier or no test set, or that is not read from
            video files.
    """
    require_keys(cfg, config, ('model',))
    if not cfg.model.get('cls_head'):
        raise ValueError(
            f'{config}: expected the config of a classifier, with model.cls_head, got '
            f'a {cfg.model.get("type")} without one; take the config that the '
            'checkpoint was fine-tuned or probed with'
        )
    require_keys(cfg, config, ('test_dataloader',))
    _check_views(cfg, 'test')
    check_shared_memory(cfg, ('test',))
    classes = cfg.model.cls_head.get('num_classes')
    if classes is not None:
        check_names(cfg, SPLITS, classes)
    steps = innermost(cfg.test_dataloader['dataset'])['pipeline']
    if any(_is_a(TRANSFORMS, step.get('type'), RawFrameDecode) for step in steps):
        raise ValueError(
            'test_dataloader.dataset.pipeline: expected one for video files, got '
            'RawFrameDecode, which reads folders of frames; take a config of videos'
        )


def _check_skipping(cfg: Config) -> None:
    """Reject test sets that end a test at the first video that cannot be read."""
    for name, dataset in iter_split_datasets(cfg, ('test',)):
        if not _is_a(DATASETS, dataset['type'], UnreadableVideos):
            raise ValueError(
                f'--skip-unreadable: expected {name}.type=TolerantVideoDataset or '
                f'TolerantRawframeDataset, got {dataset["type"]}, which ends the test '
                'at such a video; set the type with --cfg-options'
            )


def check_length(runner: Runner) -> None:
    """Check that a training set makes at least one batch; less would train nothing.

    Args:
        runner (Runner): of a training run; its data loader is built.

    Raises:
        ValueError: if it does not.
    """
    loader = runner.train_loop.dataloader
    if len(loader) == 0:
        processes = f' on {runner.world_size} processes' if runner.distributed else ''
        raise ValueError(
            f'train_dataloader: {len(loader.dataset)} videos do not make one batch of '
            f'{loader.batch_sampler.batch_size}{processes}; lower it with '
            '--cfg-options train_dataloader.batch_size=N'
        )


def _check_pretrained(part: Any, key: str) -> None:
    """Look at the weights that parts of a model start with (``init_cfg``)."""
    if isinstance(part, Mapping):
        if part.get('type') == 'Pretrained' and isinstance(part.get('checkpoint'), str):
            try:
                require_checkpoint(part['checkpoint'])
            except (FileNotFoundError, ValueError) as error:
                raise type(error)(f'{key}: {error}') from None
        for name, value in part.items():
            _check_pretrained(value, f'{key}.{name}')
    elif isinstance(part, list | tuple):
        for index, value in enumerate(part):
            _check_pretrained(value, f'{key}.{index}')


def _check_views(cfg: Config, split: str) -> None:
    """Allow a limit on test views only for one video per batch, as MMAction2 does."""
    limit = (cfg.model.get('test_cfg') or {}).get('max_testing_views')
    size = (cfg.get(f'{split}_dataloader') or {}).get('batch_size', 1)
    if limit and size != 1:
        raise ValueError(
            f'model.test_cfg.max_testing_views={limit}: expected one video per batch, '
            f'got {split}_dataloader.batch_size={size}; set it to 1 with '
            f'--cfg-options {split}_dataloader.batch_size=1'
        )


def _check_many_hot(cfg: Config, splits: Sequence[str]) -> None:
    """Compare loss, scores and metric with the number of labels a video has.

    With several, softmax makes the classes of a video rivals, in the loss and in the
    average over its clips, and accuracy is not defined.
    """
    head = cfg.model.get('cls_head') or {}
    many = [
        (key, dataset)
        for key, dataset in iter_split_datasets(cfg, splits)
        if dataset.get('multi_class')
    ]
    if not head or not many:
        return
    problems: dict[str, Any] = {}
    loss = head.get('loss_cls', dict(type='CrossEntropyLoss'))
    if _is_a(MODELS, loss.get('type'), CrossEntropyLoss):
        problems['model.cls_head.loss_cls.type'] = 'BCELossWithLogits'
    if head.get('average_clips') != 'score':
        problems['model.cls_head.average_clips'] = 'score'
    metric = 'mean_average_precision'
    for split in splits:
        evaluators = cfg.get(f'{split}_evaluator') or []
        single = not isinstance(evaluators, Sequence)
        for index, evaluator in enumerate([evaluators] if single else evaluators):
            metrics = evaluator.get('metric_list', ('top_k_accuracy',))
            metrics = [metrics] if isinstance(metrics, str) else metrics
            accuracy = {'top_k_accuracy', 'mean_class_accuracy'} & {*metrics}
            if _is_a(METRICS, evaluator.get('type'), AccMetric) and accuracy:
                key = f'{split}_evaluator' + ('' if single else f'.{index}')
                problems[f'{key}.metric_list'] = metric
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if 'val' in splits and checkpoint.get('save_best') in ('acc/top1', 'acc/mean1'):
        problems['default_hooks.checkpoint.save_best'] = f'acc/{metric}'
    classes = head.get('num_classes')
    for key, dataset in many:
        if dataset.get('num_classes') != classes:
            problems[f'{key}.num_classes'] = classes
    if problems:
        options = ' '.join(f'{key}={value}' for key, value in problems.items())
        raise ValueError(
            f'{", ".join(problems)}: the datasets have several labels a video '
            f'(multi_class=True), which need a sigmoid for each class and the mean '
            f'average precision; set --cfg-options {options}'
        )


def _check_layer_decay(cfg: Config) -> None:
    """Compare the layers of a layer-wise learning rate with those of the encoder.

    With fewer, the last blocks would learn faster than the classifier; with more,
    everything but the classifier would learn too slowly.
    """
    wrapper, backbone = cfg.optim_wrapper, cfg.model.get('backbone') or {}
    if not _is_a(
        OPTIM_WRAPPER_CONSTRUCTORS,
        wrapper.get('constructor'),
        LearningRateDecayOptimizerConstructor,
    ) or not _is_a(MODELS, backbone.get('type'), VisionTransformer):
        return
    layers = (wrapper.get('paramwise_cfg') or {}).get('num_layers')
    depth = backbone.get('depth', 12)
    if layers != depth:
        raise ValueError(
            f'optim_wrapper.paramwise_cfg.num_layers: expected {depth}, as in '
            f'model.backbone.depth, got {layers}; set both, for example '
            f'--cfg-options optim_wrapper.paramwise_cfg.num_layers={depth}'
        )


def _check_schedule(cfg: Config) -> None:
    """Reject schedules that begin after the end of a run, as after shortening it."""
    schedulers = cfg.get('param_scheduler') or []
    if not isinstance(schedulers, Sequence):
        schedulers = [schedulers]
    for index, scheduler in enumerate(schedulers):
        by_epoch = scheduler.get('by_epoch', True)
        length = cfg.train_cfg.get('max_epochs' if by_epoch else 'max_iters')
        begin, end = scheduler.get('begin', 0), scheduler.get('end')
        if end is not None and end <= begin:
            raise ValueError(
                f'param_scheduler.{index}.end: expected more than its begin={begin}, '
                f'got {end}'
            )
        if length is not None and begin >= length:
            unit = 'epochs' if by_epoch else 'iterations'
            shorter = (
                'shorten what comes before it too, for example --cfg-options '
                f'param_scheduler.{max(index - 1, 0)}.end=1 '
                f'param_scheduler.{index}.begin=1'
            )
            constant = 'keep the rate constant with --cfg-options param_scheduler=None'
            raise ValueError(
                f'param_scheduler.{index}: begins after {begin} {unit}, but the run '
                f'has only {length}; {shorter if length > 1 else constant}'
            )


def _check_hooks(cfg: Config) -> None:
    """Reject hooks that read the model where its weights are sharded."""
    strategy = (cfg.get('strategy') or {}).get('type')
    if not _is_a(STRATEGIES, strategy, ShardedStrategy):
        return
    default, custom = cfg.get('default_hooks') or {}, cfg.get('custom_hooks') or []
    hooks = {f'default_hooks.{name}': hook for name, hook in default.items()}
    hooks.update((f'custom_hooks.{i}', hook) for i, hook in enumerate(custom))
    for key, hook in hooks.items():
        kind = type(hook) if isinstance(hook, Hook) else (hook or {}).get('type')
        if _is_a(HOOKS, kind, KnnHook, EMAHook):
            name = registered_class(HOOKS, kind).__name__
            raise ValueError(
                f'{key}: {name} needs whole weights, and ShardedStrategy shards them; '
                'remove one of the two'
            )


def _check_loggers(cfg: Config) -> None:
    """Reject backends of the visualizer that are none, or lack their package."""
    backends = (cfg.get('visualizer') or {}).get('vis_backends') or []
    key = 'visualizer.vis_backends'
    if not isinstance(backends, list | tuple):
        raise ValueError(
            f'{key}: expected a list of dicts, got {backends!r}; as an option, name '
            f'one of its elements: --cfg-options {key}.1.type=WandbVisBackend'
        )
    for index, backend in enumerate(backends):
        kind = backend.get('type') if isinstance(backend, dict) else type(backend)
        kind = registered_class(VISBACKENDS, kind)
        package = _LOGGER_PACKAGES.get(getattr(kind, '__name__', ''))
        if package and find_spec(package) is None:
            raise ValueError(
                f'{key}.{index}: {kind.__name__} needs {package}, which is not '
                f'installed: pip install {package}'
            )


def _is_a(registry: Registry, kind: Any, *bases: type) -> bool:
    kind = registered_class(registry, kind)
    return isinstance(kind, type) and issubclass(kind, bases)
