"""The report of a test: whether there is one, where it goes, how classes are called."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mmaction.registry import METRICS
from mmengine.config import Config
from mmengine.runner import Runner

from ..checkpoints.io import read_dataset_meta
from ..datasets.class_names import difference, known_names
from ..datasets.from_config import iter_split_datasets
from ..evaluation import ClassificationReport
from ..evaluation.ranking import activation_of
from .distributed import warn
from .paths import is_remote
from .places import check_folder
from .safeguards import registered_class


def add_report(cfg: Config, folder: str | None) -> None:
    """Add :class:`.ClassificationReport` to a test that can have one, in place.

    It can if every video has one label and the model a ``cls_head``.

    Args:
        cfg (Config): of a test.
        folder (str, optional): that it is to be written to. None: beside the log.

    Raises:
        ValueError: if a folder is named that cannot be written to, or for a test that
            can have no report.
    """
    evaluators = cfg.test_evaluator
    if not isinstance(evaluators, Sequence):
        evaluators = [evaluators]
    own = [e for e in evaluators if _is_report(e)]
    reason = _why_not(cfg)
    if folder is not None:
        if reason:
            raise ValueError(f'--report: {reason}; leave it out')
        check_folder('--report', folder)
        for evaluator in own:
            evaluator['out_dir'] = folder
    if reason:
        return
    if not own:
        own = [dict(type='ClassificationReport', out_dir=folder)]
        cfg.test_evaluator = [*evaluators, *own]
    for evaluator in own:
        evaluator.setdefault('activation', activation_of(cfg.model.cls_head))


def prepare_report(runner: Runner) -> None:
    """Tell the report of a test its folder and the names of the checkpoint's classes.

    Args:
        runner (Runner): of a test.

    Raises:
        ValueError: if the checkpoint has the names of the test set in another order:
            its labels would mean other classes.
    """
    metrics = runner.test_loop.evaluator.metrics
    reports = [m for m in metrics if isinstance(m, ClassificationReport)]
    for report in reports:
        report.out_dir = report.out_dir or os.path.join(runner.log_dir, 'report')
    path = runner.cfg.load_from
    if not reports or is_remote(path):
        return
    meta = getattr(runner.test_loop.dataloader.dataset, 'metainfo', None)
    names = known_names(meta)
    saved = known_names(read_dataset_meta(os.path.expanduser(path)))
    if names and saved and (other := difference(names, saved)):
        text = (
            'test_dataloader.dataset.metainfo.classes: expected the names in '
            f'{path}, got others: {other}'
        )
        if sorted(names) == sorted(saved):
            raise ValueError(
                f'{text}; the same in another order, so that labels mean other '
                'classes; test with the order of the training'
            )
        warn(text)
    for report in reports:
        report.classes = report.classes or saved


def _is_report(evaluator: dict) -> bool:
    kind = registered_class(METRICS, evaluator.get('type'))
    return isinstance(kind, type) and issubclass(kind, ClassificationReport)


def _why_not(cfg: Config) -> str:
    """Say why a test has no report; '' if it has."""
    if not cfg.model.get('cls_head'):
        return f'expected a classifier, got a {cfg.model.get("type")} without cls_head'
    for key, dataset in iter_split_datasets(cfg, ('test',)):
        if dataset.get('multi_class'):
            return f'expected one label a video, got several ({key}.multi_class=True)'
    return ''
