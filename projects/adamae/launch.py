"""What stands between a command line and MMEngine's runner.

The tools parse their arguments and call these functions in order; whatever a
user can get wrong is found here, before a model is built, and told in one line.
"""

import inspect
import os
import subprocess
import sys
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from difflib import get_close_matches
from logging import WARNING
from pathlib import Path
from typing import Any

import torch.distributed
from mmaction.datasets import VideoDataset
from mmaction.engine.optimizers import LearningRateDecayOptimizerConstructor
from mmaction.models.backbones.vit_mae import VisionTransformer
from mmaction.registry import DATASETS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.config import Config, DictAction
from mmengine.device import (
    is_cuda_available,
    is_mlu_available,
    is_musa_available,
    is_npu_available,
)
from mmengine.fileio import join_path, list_from_file
from mmengine.logging import print_log
from mmengine.registry import Registry
from mmengine.runner import FlexibleRunner, Runner, find_latest_checkpoint
from mmengine.utils import is_abs

from . import features
from .checkpoints.files import check_loadable

# Where each launcher says: this process, how many there are, this one's place
# on its machine.
_LAUNCHER_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': (
        'OMPI_COMM_WORLD_RANK',
        'OMPI_COMM_WORLD_SIZE',
        'OMPI_COMM_WORLD_LOCAL_RANK',
    ),
}
# glibc hands large buffers back and pages them in again at every step, which on a CPU
# takes as long as the arithmetic of a small model. Read when a process starts.
KEEP_FREED_MEMORY = {
    'MALLOC_MMAP_MAX_': '0',
    'MALLOC_TRIM_THRESHOLD_': str(1 << 36),
}
# What a config must have to train.
TRAINING_KEYS = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper')
# How many of an annotation file's videos are looked for on the disk.
_LOOK_FOR = 3
# What of a config is read once it is complete: by a runner's constructor, by name.
_READ_KEYS = {
    *inspect.signature(Runner.__init__).parameters,
    *inspect.signature(FlexibleRunner.__init__).parameters,
    'activation_checkpointing',
    'compile',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'resource_limit',
    'runner_type',
    'sync_bn',
}


class CfgOptions(DictAction):
    """MMEngine's ``key=value`` parser, with an error instead of a traceback."""

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Parse ``values`` into a dict.

        Raises:
            ArgumentError: if one is not of the form ``key=value``.
        """
        for value in values:
            if '=' not in value:
                raise ArgumentError(self, f'expected KEY=VALUE, got {value!r}')
        super().__call__(parser, namespace, values, option_string)


def add_cfg_options(parser: ArgumentParser) -> None:
    """Add ``--cfg-options``, and what else :func:`load_config` reads, unset."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=CfgOptions,
        default={},
        metavar='KEY=VALUE',
        help='override settings of the config, for example '
        'train_dataloader.batch_size=8 model.backbone.depth=6',
    )
    parser.set_defaults(work_dir=None, launcher='none')


def add_reading_arguments(parser: ArgumentParser) -> None:
    """Add what tools take that encode videos, for :func:`load_reading_config`."""
    parser.add_argument('config', help='path of the config of the model')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument(
        '--data',
        metavar='CONFIG',
        help='take the data sets of this config (default: the first one)',
    )
    add_cfg_options(parser)


def add_common_arguments(parser: ArgumentParser) -> None:
    """Add what every tool over a config takes, named as in MMAction2."""
    parser.add_argument('--work-dir', help='folder for logs and checkpoints')
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', *_LAUNCHER_VARIABLES],
        default='none',
        help='what starts the processes; set by dist_*.sh and slurm_*.sh',
    )


@contextmanager
def errors_in_one_line(*kinds: type[Exception]) -> Iterator[None]:
    """Turn errors of the given kinds into one line and exit code 2.

    Only the first process on each machine of a distributed run prints it.

    Args:
        *kinds (type[Exception]): what to catch.
    """
    try:
        yield
    except kinds as error:
        if _rank_and_local_rank()[1] == 0:
            print(f'error: {error}', file=sys.stderr)
        raise SystemExit(2) from None


def load_config(args: Namespace) -> Config:
    """Read the config and apply what both tools take from the command line.

    Args:
        args (Namespace): has ``config``, ``cfg_options``, ``work_dir`` and
            ``launcher``.

    Returns:
        Config: with ``work_dir`` and ``launcher`` set.

    Raises:
        FileNotFoundError: if there is no such config.
        ValueError: if an option does not fit the config's structure.
    """
    _require_file('config', args.config)
    cfg = Config.fromfile(args.config)
    for key in args.cfg_options:
        _warn_if_idle(cfg, key)
    try:
        cfg.merge_from_dict(args.cfg_options)
    except (KeyError, TypeError) as error:
        raise ValueError(f'--cfg-options: {error.args[0]}') from error
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(args.config).stem)
    cfg.launcher = args.launcher
    return cfg


def load_reading_config(args: Namespace) -> Config:
    """Read the config of a model, with the data sets that are to be encoded.

    Args:
        args (Namespace): of a tool with :func:`add_reading_arguments`.

    Returns:
        Config: has a model, and the data sets of ``args.data`` if there is one.

    Raises:
        FileNotFoundError: if there is no such config.
        ValueError: if the first has no model, or an option does not fit.
    """
    cfg = load_config(args)
    require_keys(cfg, args.config, ('model',))
    if args.data:
        other = load_config(Namespace(**{**vars(args), 'config': args.data}))
        features.take_data_of(cfg, other)
    return cfg


def require_keys(cfg: Config, config: str, keys: Sequence[str]) -> None:
    """Refuse a config that is only a part of one.

    Args:
        cfg (Config): the config.
        config (str): where it comes from.
        keys (Sequence[str]): what it must have.

    Raises:
        ValueError: if one is missing.
    """
    missing = [key for key in keys if cfg.get(key) is None]
    if missing:
        raise ValueError(
            f'{config}: expected {", ".join(keys)} in the config, got no '
            f'{", ".join(missing)}; take one that has them, such as those in configs/ '
            'itself'
        )


def apply_train_arguments(cfg: Config, args: Namespace) -> None:
    """Apply the arguments of ``tools/train.py`` to a config, in place.

    Args:
        cfg (Config): of a training run.
        args (Namespace): has ``resume`` (None, 'auto' or a path), ``amp``,
            ``no_validate``, ``auto_scale_lr``, ``seed``, ``diff_rank_seed`` and
            ``deterministic``.

    Raises:
        FileNotFoundError: if the checkpoint to resume from does not exist.
        ValueError: if ``amp`` meets an optimizer wrapper other than MMEngine's
            two, or ``auto_scale_lr`` a config without ``auto_scale_lr``.
    """
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None

    if args.amp:
        wrapper = cfg.optim_wrapper.get('type', 'OptimWrapper')
        if wrapper not in ('OptimWrapper', 'AmpOptimWrapper'):
            raise ValueError(
                '--amp: expected optim_wrapper.type OptimWrapper or '
                f'AmpOptimWrapper, got {wrapper}; drop --amp'
            )
        cfg.optim_wrapper.type = 'AmpOptimWrapper'

    if args.resume == 'auto':
        # Without a checkpoint to resume, `load_from` stays what the run starts with.
        latest = find_latest_checkpoint(cfg.work_dir)
        cfg.resume = latest is not None
        if latest is not None:
            cfg.load_from = latest
        else:
            _warn(f'--resume: no checkpoint in {cfg.work_dir}, starting from the start')
    elif args.resume is not None:
        cfg.resume = True
        cfg.load_from = args.resume
    if cfg.get('load_from'):
        _require_checkpoint(cfg.load_from)

    if args.auto_scale_lr:
        if not cfg.get('auto_scale_lr'):
            raise ValueError(
                '--auto-scale-lr: expected auto_scale_lr=dict(base_batch_size=...) '
                'in the config, got none; add it or drop --auto-scale-lr'
            )
        cfg.auto_scale_lr.enable = True
        # MMEngine counts what a forward pass takes, not what an update does.
        passes = (cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1)
        if passes > 1:
            cfg.auto_scale_lr.base_batch_size /= passes

    # MMEngine wants a seed key wherever there is a randomness.
    randomness = {'seed': None, **(cfg.get('randomness') or {})}
    if args.seed is not None:
        randomness['seed'] = args.seed
    if args.diff_rank_seed:
        randomness['diff_rank_seed'] = True
    if args.deterministic:
        randomness['deterministic'] = True
    cfg.randomness = randomness


def apply_test_arguments(cfg: Config, args: Namespace) -> None:
    """Apply the arguments of ``tools/test.py`` to a config, in place.

    Args:
        cfg (Config): of a model with a test set.
        args (Namespace): has ``checkpoint`` and ``dump`` (None or a path).

    Raises:
        FileNotFoundError: if the checkpoint does not exist.
        ValueError: if the config has no test set, or ``dump`` does not name a
            pickle file.
    """
    keys = ('model', 'test_dataloader', 'test_cfg', 'test_evaluator')
    require_keys(cfg, args.config, keys)
    _require_checkpoint(args.checkpoint)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    if args.dump is not None:
        if not args.dump.endswith(('.pkl', '.pickle')):
            raise ValueError(f'--dump: expected a .pkl file, got {args.dump}')
        evaluators = cfg.test_evaluator
        if not isinstance(evaluators, Sequence):
            evaluators = [evaluators]
        dump = dict(type='DumpResults', out_file_path=args.dump)
        cfg.test_evaluator = [*evaluators, dump]


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


def connect_processes(cfg: Config) -> None:
    """Connect the processes of a run where MMEngine cannot, in place.

    MMEngine's launcher sets a CUDA device and NCCL unconditionally. On a machine
    without an accelerator the processes are connected with gloo, before the
    runner would do it. Otherwise this leaves everything to the runner.

    Args:
        cfg (Config): the config of the run, with ``launcher`` set.

    Raises:
        ValueError: if the launcher's variables are not in the environment.
    """
    if cfg.launcher == 'none':
        return
    missing = set(_LAUNCHER_VARIABLES[cfg.launcher]) - set(os.environ)
    if missing:
        raise ValueError(
            f'--launcher {cfg.launcher}: expected {", ".join(sorted(missing))} in '
            'the environment, got none; start with tools/dist_*.sh or slurm_*.sh'
        )
    if has_accelerator():
        return
    _init_gloo(cfg.launcher, cfg.get('env_cfg', {}).get('dist_cfg', {}))
    # As MMEngine wraps the model on a GPU, but for the device.
    cfg.model_wrapper_cfg = {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
        **(cfg.get('model_wrapper_cfg') or {}),
        'device_ids': None,
    }


def drop_amp_without_accelerator(cfg: Config) -> None:
    """Train in full precision where ``AmpOptimWrapper`` refuses to, in place.

    Args:
        cfg (Config): of a training run; with an accelerator it stays as it is.
    """
    wrapper = cfg.optim_wrapper
    if has_accelerator() or wrapper.get('type') != 'AmpOptimWrapper':
        return
    _warn(
        'AmpOptimWrapper needs an accelerator and this machine has none: '
        'training in full precision with OptimWrapper instead'
    )
    wrapper.type = 'OptimWrapper'
    for key in ('loss_scale', 'dtype', 'use_fsdp'):
        wrapper.pop(key, None)


def has_accelerator() -> bool:
    """Whether there is what MMEngine's launcher and ``AmpOptimWrapper`` need."""
    return (
        is_cuda_available()
        or is_npu_available()
        or is_mlu_available()
        or is_musa_available()
    )


def _rank_and_local_rank() -> tuple[int, int]:
    """This process's place in the run and on its machine, also before they connect."""
    for rank, _, local_rank in _LAUNCHER_VARIABLES.values():
        if rank in os.environ:
            return int(os.environ[rank]), int(os.environ.get(local_rank, 0))
    return 0, 0


def _warn(message: str) -> None:
    if _rank_and_local_rank()[0] == 0:
        print_log(message, logger='current', level=WARNING)


def _is_remote(path: str) -> bool:
    return '://' in path


def _require_file(what: str, path: str) -> None:
    if not _is_remote(path) and not os.path.isfile(os.path.expanduser(path)):
        raise FileNotFoundError(f'{what} not found: {path}')


def _require_checkpoint(path: str) -> None:
    _require_file('checkpoint', path)
    if not _is_remote(path):
        check_loadable(os.path.expanduser(path))


def _warn_if_idle(cfg: Config, key: str) -> None:
    """Warn of an option that may change nothing."""
    node: Any = cfg.to_dict()
    for part in key.split('.'):
        if isinstance(node, list) and part.isdigit():
            if int(part) >= len(node):
                return  # MMEngine has an error for this.
            node = node[int(part)]
        elif isinstance(node, dict) and part in node:
            node = node[part]
        else:
            known = [str(name) for name in node] if isinstance(node, dict) else []
            near = get_close_matches(part, known, n=1)
            hint = f'; did you mean {near[0]!r}?' if near else ''
            _warn(f'--cfg-options: {key} is not in the config, adding it{hint}')
            return
    if key.split('.')[0] not in _READ_KEYS:
        _warn(
            f'--cfg-options: {key} is used only inside the config file, no effect '
            'here; change what it sets, or write a config'
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
    if _is_remote(root):
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
    if annotation and not _is_remote(annotation):
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
    if _is_remote(annotation):
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
    if not _is_remote(path) and not exists(path):
        raise FileNotFoundError(
            f'{key}.{name}: {what} not found: {os.path.abspath(path)}; create it, '
            f'or name another with --cfg-options {key}.{name}=PATH'
        )


def _init_gloo(launcher: str, dist_cfg: dict) -> None:
    """Connect the processes of a run over the network, without a GPU.

    Args:
        launcher (str): a key of ``_LAUNCHER_VARIABLES``.
        dist_cfg (dict): of the config; its ``timeout`` (seconds) is used.
    """
    for name, source in zip(
        _LAUNCHER_VARIABLES['pytorch'], _LAUNCHER_VARIABLES[launcher], strict=True
    ):
        os.environ[name] = os.environ[source]
    os.environ.setdefault('MASTER_PORT', '29500')
    if launcher == 'slurm' and 'MASTER_ADDR' not in os.environ:
        hosts = subprocess.run(
            ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']],
            capture_output=True,
            text=True,
            check=True,
        )
        os.environ['MASTER_ADDR'] = hosts.stdout.split()[0]
    timeout = dist_cfg.get('timeout')
    torch.distributed.init_process_group(
        'gloo', timeout=timedelta(seconds=timeout) if timeout else None
    )
