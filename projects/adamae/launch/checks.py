"""What a config gets wrong, found before anything is built."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from mmaction.datasets import VideoDataset
from mmaction.engine.optimizers import LearningRateDecayOptimizerConstructor
from mmaction.models.backbones.vit_mae import VisionTransformer
from mmaction.registry import DATASETS, HOOKS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.config import Config
from mmengine.fileio import join_path, list_from_file
from mmengine.hooks import EMAHook, Hook
from mmengine.registry import STRATEGIES, Registry
from mmengine.runner import Runner
from mmengine.utils import is_abs

from ..hooks import KnnHook
from ..hooks.compile_hook import compile_options
from ..sharded_strategy import ShardedStrategy
from .files import is_remote

# How many of an annotation file's videos are looked for on the disk.
_LOOK_FOR = 3


def check_data(cfg: Config, splits: Sequence[str]) -> None:
    """Look for the files of the data sets before anything is built.

    Remote paths are not looked at. Folders and annotation files are joined with
    ``data_root`` as MMEngine's ``BaseDataset`` does it.

    Args:
        cfg (Config): the config of the run.
        splits (Sequence[str]): of 'train', 'val' and 'test', those that the run
            reads; one without a dataloader is skipped.

    Raises:
        FileNotFoundError: if an annotation file, a folder, or one of the first
            videos of an annotation file does not exist.
        ValueError: if an annotation file lists nothing, or a line that
            ``VideoDataset`` cannot read.
    """
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        if loader:
            key = f'{split}_dataloader.dataset'
            for dataset_key, dataset in _datasets(key, loader['dataset']):
                _check_dataset(dataset_key, dataset)


def check_classes(cfg: Config, splits: Sequence[str]) -> None:
    """Compare the labels and the blending of a classifier with its head.

    Args:
        cfg (Config): the config of the run; not looked at if its model has no
            ``cls_head.num_classes``.
        splits (Sequence[str]): as in :func:`check_data`, which comes first. Only
            annotation files of ``VideoDataset`` are read.

    Raises:
        ValueError: if a label is not one of the classes, or a blending augment has
            another number of them.
    """
    classes = (cfg.model.get('cls_head') or {}).get('num_classes')
    if classes is None:
        return
    for key, augment in _blendings(cfg.model.get('data_preprocessor') or {}):
        if augment['num_classes'] != classes:
            raise ValueError(
                f'model.data_preprocessor.{key}.num_classes: expected {classes}, as in '
                f'model.cls_head.num_classes, got {augment["num_classes"]}; give both '
                'the number of your classes'
            )
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        if loader:
            key = f'{split}_dataloader.dataset'
            for dataset_key, dataset in _datasets(key, loader['dataset']):
                _check_labels(dataset_key, dataset, classes)


def check_views(cfg: Config, splits: Sequence[str]) -> None:
    """Find a limit on test views where several videos make a batch.

    Args:
        cfg (Config): the config of the run.
        splits (Sequence[str]): of 'val' and 'test', those that the run reads.

    Raises:
        ValueError: if there is one, which MMAction2 only notices when it tests.
    """
    limit = (cfg.model.get('test_cfg') or {}).get('max_testing_views')
    for split in splits if limit else ():
        size = (cfg.get(f'{split}_dataloader') or {}).get('batch_size', 1)
        if size != 1:
            raise ValueError(
                f'model.test_cfg.max_testing_views={limit}: expected one video a '
                f'batch, got {split}_dataloader.batch_size={size}; set it to 1 with '
                f'--cfg-options {split}_dataloader.batch_size=1'
            )


def check_layer_decay(cfg: Config) -> None:
    """Compare the layers of a layer-wise learning rate with those of the encoder.

    With fewer, the last blocks would learn faster than the classifier; with more,
    everything but the classifier more slowly than said.

    Args:
        cfg (Config): of a training run.

    Raises:
        ValueError: if they are not as many.
    """
    wrapper, backbone = cfg.optim_wrapper, cfg.model.get('backbone') or {}
    constructor = _registered(OPTIM_WRAPPER_CONSTRUCTORS, wrapper.get('constructor'))
    if not _is_a(constructor, LearningRateDecayOptimizerConstructor) or not _is_a(
        _registered(MODELS, backbone.get('type')), VisionTransformer
    ):
        return
    layers = (wrapper.get('paramwise_cfg') or {}).get('num_layers')
    depth = backbone.get('depth', 12)
    if layers != depth:
        raise ValueError(
            f'optim_wrapper.paramwise_cfg.num_layers: expected {depth}, as in '
            f'model.backbone.depth, got {layers}; set both, for example '
            f'--cfg-options optim_wrapper.paramwise_cfg.num_layers={depth}'
        )


def check_schedule(cfg: Config) -> None:
    """Find schedules that begin after the run has ended, as after shortening it.

    Args:
        cfg (Config): of a training run.

    Raises:
        ValueError: if one does; names the options to change.
    """
    schedulers = cfg.get('param_scheduler') or []
    if not isinstance(schedulers, Sequence):
        schedulers = [schedulers]
    for index, scheduler in enumerate(schedulers):
        by_epoch = scheduler.get('by_epoch', True)
        length = cfg.train_cfg.get('max_epochs' if by_epoch else 'max_iters')
        begin = scheduler.get('begin', 0)
        if length is not None and begin >= length:
            unit = 'epochs' if by_epoch else 'iterations'
            raise ValueError(
                f'param_scheduler.{index}: begins after {begin} {unit}, but the run '
                f'has only {length}; shorten what comes before it too, for example '
                f'--cfg-options param_scheduler.{max(index - 1, 0)}.end=1 '
                f'param_scheduler.{index}.begin=1'
            )


def check_hooks(cfg: Config) -> None:
    """Find hooks that cannot read a model whose weights are spread over processes.

    Args:
        cfg (Config): of a training run.

    Raises:
        ValueError: if there is one.
    """
    strategy = _registered(STRATEGIES, (cfg.get('strategy') or {}).get('type'))
    if not _is_a(strategy, ShardedStrategy):
        return
    hooks = {**(cfg.get('default_hooks') or {})}
    hooks.update(enumerate(cfg.get('custom_hooks') or []))
    for place, hook in hooks.items():
        is_built = isinstance(hook, Hook)
        kind = type(hook) if is_built else _registered(HOOKS, (hook or {}).get('type'))
        if _is_a(kind, KnnHook) or _is_a(kind, EMAHook):
            key = 'default_hooks' if isinstance(place, str) else 'custom_hooks'
            raise ValueError(
                f'{key}.{place}: {kind.__name__} needs whole weights, and '
                'ShardedStrategy spreads them; leave out one of the two'
            )


def check_compile(cfg: Config) -> None:
    """Find arguments of ``torch.compile`` that it does not take.

    Args:
        cfg (Config): of a training run.

    Raises:
        ValueError: if there are any.
    """
    options = compile_options(cfg.get('compile', False))
    if options is not None:
        try:
            torch.compile(torch.nn.Identity(), **options)
        except (RuntimeError, TypeError, AttributeError, AssertionError) as error:
            raise ValueError(
                f'compile: expected arguments of torch.compile, got {options}: {error}'
            ) from error


def check_length(runner: Runner) -> None:
    """Find a training set that is smaller than a batch, which would train nothing.

    Args:
        runner (Runner): of a training run; its data loader is built.

    Raises:
        ValueError: if no batch can be made.
    """
    loader = runner.train_loop.dataloader
    if len(loader) == 0:
        processes = f' on {runner.world_size} processes' if runner.distributed else ''
        raise ValueError(
            f'train_dataloader: {len(loader.dataset)} videos do not make one batch of '
            f'{loader.batch_size}{processes}; lower it with --cfg-options '
            'train_dataloader.batch_size=N'
        )


def _registered(registry: Registry, kind: Any) -> Any:
    return registry.get(kind) if isinstance(kind, str) else kind


def _is_a(kind: Any, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


def _blendings(node: Any, key: str = '') -> Iterator[tuple[str, Any]]:
    """Yield every dict with a number of classes, with its place."""
    children: dict[Any, Any] = {}
    if isinstance(node, list | tuple):
        children = dict(enumerate(node))
    elif isinstance(node, dict):
        children = node
        if 'num_classes' in node:
            yield key, node
    for name, child in children.items():
        yield from _blendings(child, f'{key}.{name}' if key else str(name))


def _datasets(key: str, dataset: Any) -> Iterator[tuple[str, Any]]:
    """Yield every data set under wrappers, with its place in the config."""
    if 'dataset' in dataset:
        yield from _datasets(f'{key}.dataset', dataset['dataset'])
    elif 'datasets' in dataset:
        for index, part in enumerate(dataset['datasets']):
            yield from _datasets(f'{key}.datasets.{index}', part)
    else:
        yield key, dataset


def _join_root(dataset: Any, path: str) -> str:
    root = dataset.get('data_root') or ''
    return join_path(root, path) if root and not is_abs(path) else path


def _check_dataset(key: str, dataset: Any) -> None:
    root = dataset.get('data_root') or ''
    if is_remote(root):
        return
    folders = {
        f'data_prefix.{name}': _join_root(dataset, prefix)
        for name, prefix in (dataset.get('data_prefix') or {}).items()
    }
    annotation = dataset.get('ann_file')
    if annotation:
        annotation = _join_root(dataset, annotation)
        _require(key, 'ann_file', 'annotation file', annotation, os.path.isfile)
    else:
        folders['data_root'] = root
    for name, folder in folders.items():
        if folder:
            _require(key, name, 'folder', folder, os.path.isdir)
    if annotation and not is_remote(annotation):
        _check_annotation(key, dataset, annotation, folders)


def _reads_lines(dataset: Any) -> bool:
    kind = _registered(DATASETS, dataset['type'])
    return getattr(kind, 'load_data_list', None) is VideoDataset.load_data_list


def _check_annotation(
    key: str, dataset: Any, annotation: str, folders: dict[str, str]
) -> None:
    """Check what can be known of an annotation file without the data set."""
    reads_lines = _reads_lines(dataset)
    lines = list_from_file(annotation) if reads_lines else []
    if not os.path.getsize(annotation) or (reads_lines and not any(lines)):
        raise ValueError(
            f'{key}.ann_file: {annotation} is empty; list a video a line in it, '
            f'or name another with --cfg-options {key}.ann_file=PATH'
        )
    delimiter = dataset.get('delimiter', ' ')
    for number, line in enumerate(lines, 1):
        video, *labels = line.strip().split(delimiter)
        if (
            not video
            or not all(label.lstrip('-').isdigit() for label in labels)
            or (len(labels) > 1 and not dataset.get('multi_class'))
        ):
            raise ValueError(
                f'{key}.ann_file: line {number} of {annotation}: expected '
                f"'VIDEO{delimiter}LABEL', got {line!r}; mend it, or set "
                f'{key}.delimiter if {delimiter!r} is part of a name'
            )
        if number <= _LOOK_FOR:
            video = os.path.join(folders.get('data_prefix.video', ''), video)
            what = f'video of line {number} of {annotation}'
            _require(key, 'data_prefix.video', what, video, os.path.isfile)


def _check_labels(key: str, dataset: Any, classes: int) -> None:
    annotation = dataset.get('ann_file')
    if not annotation or not _reads_lines(dataset):
        return
    annotation = _join_root(dataset, annotation)
    if is_remote(annotation):
        return
    delimiter = dataset.get('delimiter', ' ')
    for number, line in enumerate(list_from_file(annotation), 1):
        labels = line.strip().split(delimiter)[1:]
        if not labels or any(not 0 <= int(label) < classes for label in labels):
            raise ValueError(
                f'{key}.ann_file: line {number} of {annotation}: expected a label '
                f'from 0 to {classes - 1}, as model.cls_head.num_classes={classes} '
                f'says, got {" ".join(labels) or "none"}; mend it, or set the number '
                'of classes'
            )


def _require(
    key: str, name: str, what: str, path: str, exists: Callable[[str], bool]
) -> None:
    if not is_remote(path) and not exists(path):
        raise FileNotFoundError(
            f'{key}.{name}: {what} not found: {os.path.abspath(path)}; create it, '
            f'or name another with --cfg-options {key}.{name}=PATH'
        )
