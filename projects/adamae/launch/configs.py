"""A config, and what a command line changes in it."""

import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.utils import import_modules_from_strings

from projects.adamae_command import tool_name
from projects.adamae_files import find_config, similar_models

from ..datasets.class_names import add_class_names
from ..datasets.from_config import SPLITS, use_data_from
from .distributed import warn
from .locking import first_start, is_restarted
from .log_failures import tell_once
from .model_sizes import follow_model, iter_dicts
from .options import find_value, parse_options
from .paths import require_checkpoint, require_file
from .places import check_folder
from .reports import add_report
from .resuming import find_newest_checkpoint, keep_checkpoints, warn_of_replaced
from .safeguards import add_safeguards, unreadable_videos_hook
from .value_checks import check_values

# What a config must have to train.
TRAINING_KEYS = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper')


def load_config(args: Namespace) -> Config:
    """Read a config and apply ``--cfg-options``, ``--work-dir`` and ``--launcher``.

    Pipelines, blending and metrics follow the sizes of the model, see
    :func:`~.model_sizes.follow_model`; the file beside lists names their classes, see
    :func:`~projects.adamae.datasets.class_names.add_class_names`.

    Args:
        args (Namespace): of a tool with ``--cfg-options``; ``config`` is a path, or the
            name of a config that comes with the package.

    Returns:
        Config: with ``work_dir`` and ``launcher`` set.

    Raises:
        FileNotFoundError: if there is no such config.
        ValueError: if the file is no config, an option does not fit its structure, or
            its value what the config has there; or if a value is none that
            :func:`~.value_checks.check_values` knows.
    """
    for handler in MMLogger.get_current_instance().handlers:
        tell_once(handler)  # of all that is logged before the run has its own log
    config = find_config(args.config)
    try:
        require_file('config', config)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{error}; {similar_models(config)}') from error
    try:
        cfg = Config.fromfile(config)
        list(iter_dicts(cfg))  # what the file imports is imported when it is asked for
    except Exception as error:  # it runs the file, if it is Python
        text = ' '.join(str(error).split())
        raise ValueError(
            f'{args.config}: expected a config, got {type(error).__name__}: {text}'
        ) from error
    for key in args.cfg_options:
        if key == 'launcher':
            raise ValueError(
                '--cfg-options: launcher has no effect here; use --launcher, or '
                f'{tool_name("dist_train.sh")}'
            )
        _warn_unknown_option(cfg, key)
    options = parse_options(cfg.to_dict(), args.cfg_options)
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError) as error:
        raise ValueError(f'--cfg-options: {error.args[0]}') from error
    if any(key.partition('.')[0] == 'custom_imports' for key in options):
        try:
            import_modules_from_strings(**cfg.custom_imports)
        except Exception as error:
            raise ValueError(f'--cfg-options: custom_imports: {error}') from error
    content = cfg.to_dict()
    loaders = (f'{split}_dataloader' for split in SPLITS)
    for key in ('model', 'model.backbone', 'model.cls_head', *loaders):
        value = find_value(content, key)
        if not isinstance(value, Mapping | None):
            raise ValueError(f'{key}: expected a dict, got {value!r}')
    check_values(cfg)
    follow_model(cfg)
    add_class_names(cfg)
    for split in SPLITS:
        loader = cfg.get(f'{split}_dataloader')
        if loader and not loader.get('num_workers', 0):
            # torch rejects both without workers.
            loader.pop('persistent_workers', None)
            loader.pop('prefetch_factor', None)
    if args.work_dir is not None:
        cfg.work_dir = os.path.expanduser(args.work_dir)
    elif cfg.get('work_dir') is None:
        cfg.work_dir = os.path.join('work_dirs', Path(args.config).stem)
    cfg.launcher = args.launcher
    return cfg


def load_reading_config(args: Namespace) -> Config:
    """Read the config of a model, with the datasets of ``--data`` if that is given.

    Args:
        args (Namespace): of a tool with ``--data``.

    Raises:
        FileNotFoundError: if one of the configs does not exist.
        ValueError: if the first has no model, or an option does not fit.
    """
    cfg = load_config(args)
    require_keys(cfg, args.config, ('model',))
    if args.data:
        other = load_config(Namespace(**{**vars(args), 'config': args.data}))
        use_data_from(cfg, other)
        follow_model(cfg)
    return cfg


def require_keys(cfg: Config, config: str, keys: Sequence[str]) -> None:
    """Raise a ``ValueError`` if a config, read from ``config``, lacks one of the keys.

    Such as a part of a config in ``configs/_base_``.
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
        args (Namespace): of that tool; ``resume`` is None, 'auto' or a path.

    Raises:
        FileNotFoundError: if the checkpoint to resume from does not exist.
        ValueError: if the config is incomplete, the work folder holds checkpoints
            of which none is to be resumed or none is whole, ``amp`` meets an optimizer
            wrapper other than MMEngine's two, or ``auto_scale_lr`` a config without
            it.
    """
    require_keys(cfg, args.config, TRAINING_KEYS)
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    add_safeguards(cfg)

    if args.amp:
        wrapper = cfg.optim_wrapper.get('type', 'OptimWrapper')
        if wrapper not in ('OptimWrapper', 'AmpOptimWrapper'):
            raise ValueError(
                '--amp: expected optim_wrapper.type OptimWrapper or '
                f'AmpOptimWrapper, got {wrapper}; drop --amp'
            )
        cfg.optim_wrapper.type = 'AmpOptimWrapper'

    resume, overwrite = args.resume, args.overwrite
    if is_restarted():
        # A restarted job goes on; what it says holds until its first checkpoint.
        saved = find_newest_checkpoint(cfg, first_start(cfg))
        if saved is not None:
            resume, overwrite = saved, False
            warn(f'started again: going on from {saved}')
    if overwrite:
        cfg.resume = False
        warn_of_replaced(cfg)
    if resume is None and cfg.get('resume'):
        resume = cfg.get('load_from') or 'auto'
    if resume == 'auto':
        # Without a checkpoint to resume, `load_from` stays what the run starts with.
        newest = find_newest_checkpoint(cfg)
        cfg.resume = newest is not None
        if newest is not None:
            cfg.load_from = newest
        else:
            warn(f'--resume: no checkpoint in {cfg.work_dir}, starting anew')
    elif resume is not None:
        cfg.resume = True
        cfg.load_from = resume
        warn_of_replaced(cfg, resume)
    elif not overwrite:
        keep_checkpoints(cfg)
    if cfg.get('load_from') or resume == '':
        require_checkpoint(cfg.load_from)

    if args.auto_scale_lr:
        if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
            raise ValueError(
                '--auto-scale-lr: expected auto_scale_lr=dict(base_batch_size=...) '
                'in the config, got none; add it or drop --auto-scale-lr'
            )
        cfg.auto_scale_lr.enable = True

    # MMEngine wants a seed key wherever there is ``randomness``.
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
        args (Namespace): has ``checkpoint``, ``dump`` and ``report`` (None or a path)
            and ``skip_unreadable``.

    Raises:
        FileNotFoundError: if the checkpoint does not exist.
        ValueError: if the config has no test set, ``dump`` does not name a pickle
            file, or there can be no ``report``.
    """
    keys = ('model', 'test_dataloader', 'test_cfg', 'test_evaluator')
    require_keys(cfg, args.config, keys)
    require_checkpoint(args.checkpoint)
    cfg.load_from = args.checkpoint
    cfg.resume = False
    unreadable_videos_hook(cfg)['skip_unreadable'] = args.skip_unreadable
    if args.dump is not None:
        if not args.dump.endswith(('.pkl', '.pickle')):
            raise ValueError(f'--dump: expected a .pkl file, got {args.dump}')
        check_folder('--dump', os.path.dirname(os.path.abspath(args.dump)))
        evaluators = cfg.test_evaluator
        if not isinstance(evaluators, Sequence):
            evaluators = [evaluators]
        dump = dict(type='DumpResults', out_file_path=args.dump)
        cfg.test_evaluator = [*evaluators, dump]
    add_report(cfg, args.report)


def _warn_unknown_option(cfg: Config, key: str) -> None:
    """Warn of an option that the config does not have yet, as after a typo."""
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
            warn(f'--cfg-options: {key} is not in the config, adding it{hint}')
            return
