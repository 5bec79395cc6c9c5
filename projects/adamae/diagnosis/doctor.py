"""All that is looked at, in one call."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch
from mmaction.registry import MODELS
from mmengine.registry import init_default_scope

from ..analysis.study import quiet
from ..apis.models import load_model
from ..engine.hooks.fault_report import random_state, set_random_state
from ..models.mae_recognizer import MAERecognizer
from ..utils.randomness import seed_generators
from . import curves, data, weights
from .finding import Examination, Finding
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
    curves.examine_settings(run, found)
    curves.examine_schedule(run, found)
    cpu = torch.device('cpu')
    before = random_state(cpu)
    with quiet('ERROR'):
        weights.examine_start(run, found)
        seed_generators(0)  # the same clips and masks each time
        try:
            sample = data.examine_data(run, found)
            _examine_model(run, sample, found)
        finally:
            set_random_state(before, cpu)
        labels = data.validation_labels(run)
    curves.examine_faults(run, found)
    curves.examine_loader(run, found)
    size = None
    with suppress(ValueError):  # it was told above
        size = weights.encoder_size(run)
    curves.examine_losses(run, found, labels, size)
    found.findings = [*{f.cause: f for f in reversed(found.findings)}.values()][::-1]
    return found


def _examine_model(
    run: WorkFolder, sample: data.Sample | None, found: Examination
) -> None:
    """Look at pixels, features and predictions, and at the weights themselves."""
    init_default_scope(run.cfg.get('default_scope', 'mmaction'))
    try:
        weights.examine_sampler(run, found)
    except (KeyError, ValueError) as error:
        found.unknown.append(f'whether the sampler learns: {error}')
    if sample is None:
        return
    try:
        preprocessor = MODELS.build(run.cfg.model['data_preprocessor'])
    except Exception as error:  # a class of the user's own
        found.unknown.append(f'model.data_preprocessor cannot be built: {error}')
        return
    data.examine_pixels(sample, preprocessor, found)
    if not run.checkpoints:
        found.unknown.append('features and predictions: there is no checkpoint yet')
        return
    try:
        model = load_model(run.cfg, str(run.checkpoints[-1]))
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        found.unknown.append(f'features and predictions: {error}')
        return
    clips = torch.cat([clip[:1] for clip in data.normalized(sample, preprocessor)])
    clips = clips[:: -(-len(clips) // _NUM_ENCODED)]
    weights.examine_features(run, model, clips, found)
    if isinstance(model, MAERecognizer):
        weights.examine_targets(run, model, clips, found)
