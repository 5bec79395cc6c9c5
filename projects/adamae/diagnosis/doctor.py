"""All that is looked at, in one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope

from ..analysis.study import quiet
from ..apis.models import load_model
from ..engine.hooks.fault_report import random_state, set_random_state
from ..models.mae_recognizer import MAERecognizer
from ..utils.randomness import seed_generators
from . import curves, data, weights
from .finding import Examination, Finding, describe_error
from .work_folder import WorkFolder, read_work_folder

_NUM_ENCODED = 12  # videos: ViT-B takes seconds for each


def diagnose(work_dir: str | Path) -> list[Finding]:
    """Name what is likely wrong with a run.

    Args:
        work_dir (str | Path): its work folder.

    Returns:
        list[Finding]: the most likely first; none: the run looks healthy.

    Raises:
        FileNotFoundError: if there is no such folder, or no run in it.
        ValueError: if its config cannot be read.
    """
    return examine(work_dir).findings


def examine(work_dir: str | Path) -> Examination:
    """Look at a run; see :func:`diagnose`.

    Returns:
        Examination: findings, what could not be judged, and what was measured.
    """
    with quiet('ERROR'):
        run, found = read_work_folder(work_dir), Examination()
    if run.unread:
        found.unknown.append(
            f'{run.unread} lines of scalars.json: cut or no JSON, they are left out'
        )
    # Causes before what comes of them.
    _attempt(found, 'the settings', curves.examine_settings, run, found)
    _attempt(found, 'the schedule', curves.examine_schedule, run, found)
    cpu = torch.device('cpu')
    before = random_state(cpu)
    with quiet('ERROR'):
        _attempt(found, 'load_from', weights.examine_start, run, found)
        seed_generators(0)  # the same clips and masks each time
        try:
            sample = data.examine_data(run, found)
            _examine_model(run, sample, found)
        finally:
            set_random_state(before, cpu)
        labels = None
        if run.cfg.model.get('cls_head'):
            what = 'the labels of held-out videos'
            labels = _attempt(found, what, data.validation_labels, run)
    _attempt(found, 'reports of faults', curves.examine_faults, run, found)
    _attempt(found, 'the loader', curves.examine_loader, run, found)
    size = _attempt(found, 'the size of the weights', weights.encoder_size, run)
    _attempt(found, 'the loss', curves.examine_losses, run, found, labels, size)
    found.findings = [*{f.cause: f for f in reversed(found.findings)}.values()][::-1]
    return found


def _attempt(found: Examination, what: str, look: Callable, *arguments: Any) -> Any:
    """Look at something; files, classes or configs of others may not be as ours."""
    try:
        return look(*arguments)
    except Exception as error:
        found.unknown.append(f'{what}: {describe_error(error)}')
        return None


def _examine_model(
    run: WorkFolder, sample: data.Sample | None, found: Examination
) -> None:
    """Look at pixels, features and predictions, and at the weights themselves."""
    init_default_scope(run.cfg.get('default_scope', 'mmaction'))
    what = 'whether the sampler learns'
    _attempt(found, what, weights.examine_sampler, run, found)
    if sample is None:
        return
    config = run.cfg.model.get('data_preprocessor')
    preprocessor = _attempt(found, 'model.data_preprocessor', MODELS.build, config)
    if preprocessor is None:
        return
    _attempt(found, 'the pixels', data.examine_pixels, sample, preprocessor, found)
    if not run.checkpoints:
        found.unknown.append('features and predictions: there is no checkpoint yet')
        return
    what = 'features and predictions'
    model = _attempt(found, what, load_model, run.cfg, str(run.checkpoints[-1]))
    if model is None:
        return
    clips = torch.cat([clip[:1] for clip in data.normalized(sample, preprocessor)])
    clips = clips[:: -(-len(clips) // _NUM_ENCODED)]
    _attempt(found, what, weights.examine_features, run, model, clips, found)
    if isinstance(model, MAERecognizer):
        _attempt(found, what, weights.examine_targets, run, model, clips, found)
