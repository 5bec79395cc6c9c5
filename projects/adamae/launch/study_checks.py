"""A comparison of masking strategies, checked as a whole before anything trains."""

from __future__ import annotations

import json
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmaction.evaluation import AccMetric
from mmaction.registry import DATASETS, METRICS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..analysis.strategies import Strategy, derive, read_strategy
from ..analysis.study import (
    FINE_TUNED,
    KNN,
    PROBE,
    Judges,
    Method,
    judged_split,
    quiet,
)
from ..checkpoints import CheckpointMismatch, adapt_checkpoint
from ..datasets.from_config import build_dataset, eval_split, names_and_labels
from ..models import MAERecognizer
from ..models.backbones import MaskedVisionTransformer
from ..utils.meta import without_weights
from ..utils.text import shorten
from .checks import check_testing, check_training
from .class_checks import check_labels
from .configs import TRAINING_KEYS, load_config, require_keys
from .data_checks import check_data
from .distributed import warn
from .options import find_value
from .safeguards import add_safeguards, registered_class

JUDGES = ('knn', 'probe', 'finetune')
# How the configs of one dataset are named, and those of a judge.
_SUFFIX = '_pretrain'
_JUDGE_SUFFIXES = {'probe': ('_probe', '_linear'), 'finetune': ('_finetune',)}
_COLUMNS = {'knn': KNN, 'probe': PROBE, 'finetune': FINE_TUNED}
_WORK = {'knn': 'times k-NN', 'probe': 'linear probes', 'finetune': 'fine-tunings'}
_MAX_K = 20


class StudyPlan(NamedTuple):
    """What a study does, and what its numbers mean.

    Attributes:
        methods (list[Method]): to compare; the last is no pre-training at all.
        judges (Judges): of the encoders.
        levels (dict[str, dict[str, float]]): for each judge the accuracies, in [0, 1],
            of guessing.
        summary (list[str]): what is going to run.
        notes (list[str]): below the table.
        files (dict[Path, str]): to be written before it runs: derived configs, and the
            settings by which :func:`plan_study` knows the study again.
    """

    methods: list[Method]
    judges: Judges
    levels: dict[str, dict[str, float]]
    summary: list[str]
    notes: list[str]
    files: dict[Path, str]


class _Labeled(NamedTuple):
    """The videos that a judge learns from, and those that it is judged by."""

    config: Path
    train: int
    judged: int
    split: str
    classes: int
    largest: float


def plan_study(
    config: Path,
    samplers: Sequence[str],
    seeds: Sequence[int],
    judges: Sequence[str],
    out: Path,
    probe: Path | None = None,
    finetune: Path | None = None,
) -> StudyPlan:
    """Check all that a comparison of masking strategies needs, and plan it.

    Args:
        config (Path): of pre-training; its sampler is replaced, nothing else.
        samplers (Sequence[str]): strategies, see :func:`.read_strategy`.
        seeds (Sequence[int]): of all runs.
        judges (Sequence[str]): of 'knn', 'probe' and 'finetune'.
        out (Path): folder of the study; nothing is written yet.
        probe (Path, optional): config of a linear probe. Defaults to the one named as
            ``config`` is, with ``_probe`` or ``_linear`` for ``_pretrain``.
        finetune (Path, optional): config of fine-tuning. Defaults likewise.

    Returns:
        StudyPlan: of a study that can run.

    Raises:
        FileNotFoundError: if a config, a list or videos are missing.
        ValueError: if anything else is wrong; each message names the config or option.
    """
    with _named(config):
        cfg = _load(config, ('model.sampler',))
        if cfg.get('load_from'):
            raise ValueError(
                f'load_from: expected None, as strategies are compared from random '
                f'weights, got {cfg.load_from}; remove it'
            )
        strategies = [read_strategy(text, cfg.model.sampler) for text in samplers]
        if not strategies or not judges:
            raise ValueError('--samplers, --judge: expected one or more, got none')
        repeated = [s for s, n in Counter(s[:2] for s in strategies).items() if n > 1]
        if repeated:
            name, ratio = repeated[0]
            raise ValueError(f'--samplers: {name}@{ratio:g} is named twice')
        check_training(cfg)
        videos = len(DATASETS.build(cfg.train_dataloader['dataset']))
        _require_batch(cfg, videos)
        for strategy in strategies:
            _check_strategy(cfg, strategy)
    named = dict(probe=probe, finetune=finetune)
    configs, labeled = {}, {}
    for judge in judges:
        path, name = _judge_config(judge, named, config), _COLUMNS[judge]
        with _named(path):
            configs[judge], labeled[name] = _check_judge(judge, path, cfg)
    settings = _same_settings(out, dict(pretrain=cfg, **configs))
    derived = [derive(s, config, out / 'configs') for s in strategies]
    methods = [method for method, _ in derived]
    baseline = Method(
        'no_pretraining', config.resolve(), (), False, 'no pre-training (random)'
    )
    chosen = Judges(
        **{judge: labeled[_COLUMNS[judge]].config.resolve() for judge in judges},
        k=min(_MAX_K, labeled[KNN].train) if KNN in labeled else _MAX_K,
    )
    return StudyPlan(
        [*methods, baseline],
        chosen,
        {name: _guessing(videos) for name, videos in labeled.items()},
        _summary(cfg, configs, strategies, seeds, videos, labeled),
        _notes(config, strategies, seeds, labeled, chosen),
        {
            **{method.config: text for method, text in derived if method.config},
            out / 'study.json': settings,
        },
    )


@contextmanager
def _named(config: Path) -> Iterator[None]:
    """Put the config in front of what is wrong in it."""
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        # There is no such option here.
        text = str(error).replace('with --cfg-options', 'in the config, as in')
        text = text.replace('--cfg-options ', 'in the config, as in ')
        if text.startswith(('--', str(config))) or str(config) in text:
            raise type(error)(text) from error
        raise type(error)(f'{config}: {text}') from error


def _load(config: Path, keys: Sequence[str]) -> Config:
    """Read the config of a run by ``tools/train.py``, as that does it."""
    cfg = load_config(
        Namespace(config=str(config), cfg_options={}, work_dir='', launcher='none')
    )
    require_keys(cfg, str(config), TRAINING_KEYS)
    for key in keys:
        if not cfg.model.get(key.removeprefix('model.')):
            raise ValueError(
                f'{key}: expected one, got none; name the config of a pre-training, '
                'such as configs/adamae_vitb_folder_pretrain.py'
            )
    add_safeguards(cfg)
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    folder = find_value(cfg.to_dict(), 'default_hooks.checkpoint.out_dir')
    if folder:
        raise ValueError(
            'default_hooks.checkpoint.out_dir: expected none, as the checkpoints of a '
            f'study stay in its own folder, got {folder}; remove it'
        )
    if not (cfg.train_cfg.get('max_epochs') or cfg.train_cfg.get('max_iters')):
        raise ValueError('train_cfg: expected max_epochs or max_iters, got none')
    return cfg


def _require_batch(cfg: Config, videos: int) -> None:
    """Require that the training videos make a batch."""
    loader = cfg.train_dataloader
    size = loader.get('batch_size', 1)
    if not videos or (loader.get('drop_last') and videos < size):
        raise ValueError(
            f'train_dataloader: {videos} videos do not make one batch of {size}; lower '
            'train_dataloader.batch_size in the config'
        )


def _with_sampler(cfg: Config, strategy: Strategy) -> dict[str, Any]:
    """Give the config of the model with another sampler."""
    sampler = strategy.sampler
    if not sampler.pop('_delete_', False):
        sampler = {**cfg.model.sampler, **sampler}
    return {**cfg.model, 'sampler': sampler}


def _check_strategy(cfg: Config, strategy: Strategy) -> None:
    """Build the model with a strategy and mask a clip, on no memory."""
    loss = cfg.model.get('loss') or {}
    if strategy.name == 'adaptive' and loss.get('sampling_weight') == 0:
        raise ValueError(
            'model.loss.sampling_weight: expected more than 0, from which the adaptive '
            'sampler learns, got 0; leave it out for the published 1e-4'
        )
    try:
        with without_weights():
            model = MODELS.build(_with_sampler(cfg, strategy)).to('meta')
        if not isinstance(model, MAERecognizer):
            raise ValueError(
                f'expected a config of an MAERecognizer, got {type(model).__name__}'
            )
        clip = (2, model.backbone.in_channels, *model.backbone.clip_size)
        model.loss(torch.empty(clip, device='meta'))
    except ValueError as error:
        text = f'--samplers {strategy.name}@{strategy.mask_ratio:g}: {error}'
        if 'visible' in text:
            text += f'; another ratio is {strategy.name}@RATIO'
        raise ValueError(text) from error


def _sibling(config: Path, judge: str) -> Path | None:
    """Find the config of a judge by its name."""
    if not config.stem.endswith(_SUFFIX):
        return None
    stem = config.stem.removesuffix(_SUFFIX)
    paths = (config.with_stem(stem + suffix) for suffix in _JUDGE_SUFFIXES[judge])
    return next((path for path in paths if path.is_file()), None)


def _judge_config(judge: str, named: Mapping[str, Path | None], config: Path) -> Path:
    """Choose the config with the labels that a judge needs; one that is named first."""
    needed = ('probe', 'finetune') if judge == 'knn' else (judge,)
    paths = [*(named[name] for name in needed), *(_sibling(config, n) for n in needed)]
    path = next(filter(None, paths), None)
    if path is None:
        options = ' or '.join(f'--{name} CONFIG' for name in needed)
        raise ValueError(
            f'--judge {judge}: expected labeled videos, in a config named with '
            f'{options}, or beside {config}, with {_SUFFIX} in its name replaced'
        )
    return path


def _check_judge(judge: str, path: Path, pretrain: Config) -> tuple[Config, _Labeled]:
    """Check that a judge can do its work on the encoders of a pre-training."""
    if judge == 'knn':
        cfg = load_config(
            Namespace(config=str(path), cfg_options={}, work_dir='', launcher='none')
        )
        init_default_scope(cfg.get('default_scope', 'mmaction'))
        split = eval_split(cfg)
        for name in ('train', split):
            if name == 'train' == split or not cfg.get(f'{name}_dataloader'):
                raise ValueError(
                    'expected a train_dataloader, and a val_dataloader or '
                    'test_dataloader with videos to classify, got no such'
                )
        check_data(cfg, ('train', split), object)
        labels = _labels(cfg, ('train', split), pretrain)
        return cfg, _compare(path, split, labels, len({*labels['train'][1]}))
    cfg = _load(path, ('model.cls_head',))
    for key in ('backbone', 'cls_head'):
        if 'Pretrained' in str((cfg.model.get(key) or {}).get('init_cfg')):
            raise ValueError(
                f'model.{key}.init_cfg: expected none of type Pretrained, as the study '
                'loads each encoder itself; remove it'
            )
    judged = judged_split(cfg, 'val' if judge == 'probe' else 'test')
    if judged is None:
        raise ValueError(
            'expected val_dataloader, val_cfg and val_evaluator, or the same of test, '
            'with labeled videos to judge by, got neither'
        )
    _require_accuracy(cfg, judged)
    check_training(cfg)
    if judged == 'test':
        check_testing(cfg)
    labels = _labels(cfg, ('train', judged), None)
    _require_batch(cfg, len(labels['train'][0]))
    _check_encoder(pretrain, cfg)
    return cfg, _compare(path, judged, labels, cfg.model.cls_head.num_classes)


def _require_accuracy(cfg: Config, split: str) -> None:
    """Require the top-1 accuracy among the metrics."""
    evaluators = cfg[f'{split}_evaluator']
    evaluators = evaluators if isinstance(evaluators, Sequence) else [evaluators]
    for evaluator in evaluators:
        kind = registered_class(METRICS, evaluator.get('type'))
        metrics = evaluator.get('metric_list', ('top_k_accuracy',))
        if (
            isinstance(kind, type)
            and issubclass(kind, AccMetric)
            and 'top_k_accuracy' in metrics
        ):
            return
    raise ValueError(
        f'{split}_evaluator: expected AccMetric with top_k_accuracy, by which '
        'strategies are compared, got none; set it to dict(type=AccMetric)'
    )


def _labels(
    cfg: Config, splits: Sequence[str], pretrain: Config | None
) -> dict[str, tuple[list[str], list[int]]]:
    """Read names and labels of the videos, one label each."""
    found = {}
    for split in splits:
        check_labels(cfg, split)
        if pretrain is None:
            dataset = DATASETS.build(cfg[f'{split}_dataloader']['dataset'])
        else:  # read as k-NN does it
            with without_weights():
                encoder = MODELS.build(pretrain.model.backbone)
            dataset = build_dataset(cfg, split, encoder.clip_size)
        names, labels = names_and_labels(dataset)
        if not names:
            raise ValueError(f'{split}_dataloader: expected videos, got none')
        if labels.ndim > 1 or labels.min() < 0:
            raise ValueError(
                f'{split}_dataloader: expected one label from 0 for every video'
            )
        found[split] = names, labels.tolist()
    return found


def _compare(
    path: Path,
    split: str,
    labels: Mapping[str, tuple[list[str], list[int]]],
    classes: int,
) -> _Labeled:
    """Compare the videos that a judge learns from with those that it is judged by."""
    names, judged = labels[split]
    known = {*labels['train'][0]}
    both = [name for name in names if name in known]
    if both:
        warn(
            f'{path}: {len(both)} of the {len(names)} videos to judge by are training '
            f'videos, too, such as {both[0]}: accuracies will be too high'
        )
    if len({*labels['train'][1]}) < 2:
        raise ValueError(
            'train_dataloader: expected videos of 2 classes or more, got 1'
        )
    largest = max(Counter(judged).values()) / len(judged)
    return _Labeled(path, len(known), len(judged), split, classes, largest)


def _check_encoder(pretrain: Config, cfg: Config) -> None:
    """Load the weights of an encoder, as they will be, into a classifier."""
    with without_weights():
        encoder = MODELS.build(pretrain.model)
    model = MODELS.build(cfg.model)
    if not isinstance(model.backbone, MaskedVisionTransformer):
        raise ValueError(
            'model.backbone: expected a MaskedVisionTransformer, got '
            f'{type(model.backbone).__name__}'
        )
    weights = {
        n: torch.zeros(()).expand(t.shape) for n, t in encoder.state_dict().items()
    }
    try:
        with quiet():
            adapt_checkpoint(dict(state_dict=weights), model, 'train', 'the encoder')
    except CheckpointMismatch as error:
        text = str(error).replace('Use the config it was trained with', '').rstrip('. ')
        raise ValueError(
            f'model.backbone: {text}; give it the sizes of the pre-training'
        ) from error


def _settings(cfg: Config) -> Any:
    """Give the content of a config as JSON has it."""
    content = {k: v for k, v in cfg.to_dict().items() if k != 'work_dir'}
    return json.loads(json.dumps(content, default=str))


def _same_settings(out: Path, configs: Mapping[str, Config]) -> str:
    """Compare a study with what its folder holds; strategies and seeds may be added.

    Returns:
        str: settings of the study, with those that its folder holds.

    Raises:
        ValueError: if it is another study.
    """
    path = out / 'study.json'
    has_runs = any(folder.is_dir() for folder in out.glob('*/*'))
    is_old = has_runs and path.exists()
    old = json.loads(path.read_text(encoding='utf-8')) if is_old else {}
    new = {name: _settings(cfg) for name, cfg in configs.items()}
    for name in old.keys() & new:
        changed = next(_differences(old[name], new[name], ''), None)
        if changed:
            key, before, now = changed
            raise ValueError(
                f'--out {out} holds a study with other settings: {key.lstrip(".")} of '
                f'the config for {name} was {before}, is {now}; name another folder'
            )
    return json.dumps({**old, **new})


def _differences(old: Any, new: Any, key: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            before, now = old.get(name, 'not set'), new.get(name, 'not set')
            yield from _differences(before, now, f'{key}.{name}')
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, now) in enumerate(zip(old, new, strict=True)):
            yield from _differences(before, now, f'{key}.{index}')
    elif old != new:
        yield key, shorten(str(old), 60), shorten(str(new), 60)


def _guessing(videos: _Labeled) -> dict[str, float]:
    """Give the accuracies of guessing, that of the largest class if it is better."""
    chance = 1 / videos.classes
    levels = {f'chance, 1 of {videos.classes} classes': chance}
    if videos.largest > 1.1 * chance:
        levels['always the largest class'] = videos.largest
    return levels


def _length(cfg: Config) -> str:
    epochs = cfg.train_cfg.get('max_epochs')
    if not epochs:
        return f'{cfg.train_cfg.max_iters} iterations'
    return '1 epoch' if epochs == 1 else f'{epochs} epochs'


def _count(things: Sequence[object], one: str, many: str = '') -> str:
    return f'{len(things)} {one if len(things) == 1 else many or one + "s"}'


def _summary(
    cfg: Config,
    configs: Mapping[str, Config],
    strategies: Sequence[Strategy],
    seeds: Sequence[int],
    videos: int,
    labeled: Mapping[str, _Labeled],
) -> list[str]:
    """Say what is going to run."""
    count = len(strategies) * len(seeds)
    each = f'{_count(strategies, "strategy", "strategies")} x {_count(seeds, "seed")}'
    lines = [f'{count} pre-trainings ({each}), {_length(cfg)} of {videos} videos each']
    total = count + len(seeds)  # and without pre-training
    for judge, other in configs.items():
        data = labeled[_COLUMNS[judge]]
        work = _WORK[judge] if judge == 'knn' else f'{_WORK[judge]}, {_length(other)}'
        lines.append(
            f'{total} {work}: {data.train} training videos, judged by {data.judged} of '
            f'{data.split}_dataloader, {data.classes} classes ({data.config})'
        )
    return lines


def _notes(
    config: Path,
    strategies: Sequence[Strategy],
    seeds: Sequence[int],
    labeled: Mapping[str, _Labeled],
    judges: Judges,
) -> list[str]:
    """Say what the numbers mean."""
    ratios = {s.mask_ratio for s in strategies}
    notes = [
        f'Every row is {config} with another `model.sampler`; data, model, loss, '
        'length and batches of all runs are the same. Only the adaptive sampler has '
        'something to learn, by the term of the loss for it.',
        *(f'{s.label} masked: {s.source}.' for s in strategies),
    ]
    if len(ratios) > 1:
        notes.append(
            'The ratios differ, and with them the cost and the error of rebuilt '
            'tokens; for one ratio, name it, as in tube@0.9.'
        )
    for column, data in labeled.items():
        how = f' with k = {judges.k}' if column == KNN else ''
        error = (0.25 / data.judged) ** 0.5
        notes.append(
            f'{column}{how}: top-1 accuracy on the {data.judged} videos of '
            f'{data.split}_dataloader of {data.config}. So many videos alone leave a '
            f'standard error of {error:.3f} at an accuracy of 0.5.'
        )
    notes.append(
        f'Mean ± standard deviation over the seeds {", ".join(map(str, seeds))}.'
        if len(seeds) > 1
        else 'One seed: differences may be chance.'
    )
    return notes
