"""What the checkpoints of a run say."""

from __future__ import annotations

import copy
from math import log
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from mmaction.registry import MODELS
from mmengine.config import Config
from torch import Tensor

from ..analysis.health import rankme
from ..checkpoints.io import load_safely, weights_in
from ..evaluation.features import encode
from ..models.losses import AdaMAELoss
from ..models.mae_recognizer import MAERecognizer
from ..utils.config_text import read_config_text
from .curves import SHRINKING, UPDATES
from .finding import Examination
from .work_folder import WorkFolder

# How these were measured: docs/doctor.md.
_CHANGE = 1e-5  # of the sampler's weights, relative, from checkpoint to checkpoint
_RANK = 2.6  # directions of the features
_RANK_OF_PIXELS = 3.0  # the videos are not alike
_APART = 2.0  # factor between the loss that was logged and that of the weights


def examine_start(run: WorkFolder, found: Examination) -> None:
    """Compare mean and std with those of the checkpoint that the run began with."""
    source = run.cfg.get('load_from')
    if not source or run.cfg.get('resume') or not Path(source).is_file():
        return
    try:
        content = load_safely(source, mmap=True)
        text = (content.get('meta') or {}).get('cfg') or ''
        before = read_config_text(text) if text else Config()
    except (AttributeError, ValueError):
        return
    parts = [
        ((cfg.get('model') or {}).get('data_preprocessor') or {})
        for cfg in (run.cfg, before)
    ]
    for name in ('mean', 'std', 'to_rgb'):
        ours, theirs = (part.get(name) for part in parts)
        if theirs is not None and ours != theirs:
            key = f'model.data_preprocessor.{name}'
            found.add(
                f'{name} of the pixels is another than in pre-training',
                f'{key}={ours}; the run that made {source} had {theirs}',
                f"--cfg-options '{key}={theirs}'".replace(', ', ','),
            )


def examine_sampler(run: WorkFolder, found: Examination) -> None:
    """Compare the sampler's weights in the last two checkpoints."""
    if (run.cfg.model.get('sampler') or {}).get('type') != 'AdaptiveSamplerHead':
        return
    if len(run.checkpoints) < 2:
        found.unknown.append(
            'whether the sampler learns: two checkpoints are needed, there '
            f'{"is one" if run.checkpoints else "is none"}'
        )
        return
    old, new = (weights_in(load_safely(path)) for path in run.checkpoints[-2:])
    change = {part: _change(old, new, f'{part}.') for part in ('sampler', 'backbone')}
    found.measured['sampler_change'] = change['sampler']
    if change['backbone'] <= _CHANGE:
        found.unknown.append(
            'whether the sampler learns: the encoder does not change either between '
            f'{run.checkpoints[-2].name} and {run.checkpoints[-1].name}'
        )
    elif change['sampler'] <= _CHANGE and not any(
        'sampler' in f.cause for f in found.findings
    ):
        name = 'health/error_correlation'
        values = [row[name] for row in run.health if name in row]
        curve = f'; {name} ends at {values[-1]:.2f}' if values else ''
        found.add(
            'the token sampler is frozen',
            f'from {run.checkpoints[-2].name} to {run.checkpoints[-1].name} its '
            f'weights change by {change["sampler"]:.1e} of their size (more than '
            f'{_CHANGE:g} is expected), the encoder by {change["backbone"]:.1e}{curve}',
            'look for sampler in optim_wrapper.paramwise_cfg.custom_keys (lr_mult), '
            'for frozen parameters, and at model.loss.sampling_weight (1e-4)',
        )


def encoder_size(run: WorkFolder) -> float | None:
    """Measure the root mean square of the weights of the encoder's blocks."""
    if not run.checkpoints:
        return None
    known = weights_in(load_safely(run.checkpoints[-1], mmap=True))
    blocks = [
        w.double().square().sum().item() / w.numel()
        for name, w in known.items()
        if name.startswith('backbone.blocks.') and w.ndim > 1
    ]
    return fmean(blocks) ** 0.5 if blocks else None


def _change(old: dict[str, Tensor], new: dict[str, Tensor], prefix: str) -> float:
    """Measure how weights change beyond weight decay, relative to their size."""
    square = total = 0.0
    for name, after in new.items():
        before = old.get(name)
        if name.startswith(prefix) and before is not None and after.is_floating_point():
            a, b = before.double().flatten(), after.double().flatten()
            factor = (a @ b) / (a @ a).clamp_min(1e-30)  # decay scales a tensor
            square += (b - factor * a).square().sum().item()
            total += b.square().sum().item()
    return (square / total) ** 0.5 if total else 0.0


@torch.no_grad()
def examine_features(
    run: WorkFolder, model: Any, clips: Tensor, found: Examination
) -> None:
    """Count the directions of the encoder's features.

    Args:
        run (WorkFolder): its curves and config.
        model (BaseRecognizer): in evaluation mode.
        clips (Tensor): normalized, one for each video, shape (V, C, T, H, W), float.
        found (Examination): is added to.
    """
    features = torch.cat([encode(model, clip[None]) for clip in clips])
    small = torch.nn.functional.adaptive_avg_pool3d(clips, (2, 8, 8)).flatten(1)
    small = small - small.mean(0)
    rank, pixels = rankme(features), rankme(small)
    found.measured['rank'], found.measured['rank_of_pixels'] = rank, pixels
    if pixels < _RANK_OF_PIXELS:
        found.unknown.append('whether features collapse: the videos look alike')
    elif rank < _RANK and run.iterations < UPDATES:
        found.unknown.append(
            f'whether features collapse: RankMe of these videos is {rank:.2f} after '
            f'{run.iterations} iterations, {UPDATES} are needed'
        )
    elif rank < _RANK and (start := rankme(_random_features(run, clips))) < _RANK:
        found.unknown.append(
            f'whether features collapse: RankMe of these videos is {rank:.2f}, but of '
            f'random weights it is {start:.2f}, too'
        )
    elif rank < _RANK:
        remedy = 'lower optim_wrapper.optimizer.lr, and look at warm-up'
        if run.shrinking > SHRINKING:
            remedy = (
                f'weight decay takes {run.shrinking:.1%} of the weights in an update '
                f'(at most {SHRINKING:.1%}): --cfg-options '
                'optim_wrapper.optimizer.weight_decay=0.05'
            )
        found.add(
            'the features have collapsed',
            f'RankMe of {len(clips)} videos is {rank:.2f} (at least {_RANK:g}; 1: all '
            f'vectors are multiples of one), that of their pixels {pixels:.2f}',
            remedy,
        )


def _random_features(run: WorkFolder, clips: Tensor) -> Tensor:
    """Encode with weights of which nothing was learned."""
    cfg = copy.deepcopy(run.cfg.model)
    for part in (cfg, cfg.backbone):
        part.pop('init_cfg', None)  # may load weights
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    return torch.cat([encode(model.eval(), clip[None]) for clip in clips])


@torch.no_grad()
def examine_targets(
    run: WorkFolder, model: MAERecognizer, clips: Tensor, found: Examination
) -> None:
    """Compare the loss that was logged with that of both kinds of targets.

    Args:
        run (WorkFolder): its curves.
        model (MAERecognizer): in evaluation mode.
        clips (Tensor): as for :func:`examine_features`.
        found (Examination): is added to.
    """
    logged = [r['loss_reconstruction'] for r in run.train if 'loss_reconstruction' in r]
    if not logged or not isinstance(model.criterion, AdaMAELoss):
        return
    target = model.criterion.target
    stated = target.norm_pix
    errors: dict[bool, list[float]] = {stated: [], not stated: []}
    for clip in clips:
        sample, predicted = model.reconstruct(clip[None])
        pixels = model.pixels(clip[None], sample.masked_ids)
        for target.norm_pix, known in errors.items():
            error = model.criterion.token_error(predicted, pixels, sample.masked_ids)
            known.append(error.mean().item())
    target.norm_pix = stated
    ours, other = (max(fmean(values), 1e-9) for values in errors.values())
    found.measured['logged_over_error'] = ratio = logged[-1] / ours
    if max(ratio, 1 / max(ratio, 1e-9)) > _APART and (
        abs(log(max(logged[-1], 1e-9) / other)) < abs(log(max(ratio, 1e-9)))
    ):
        found.add(
            'targets are not normalized, although the config says they are'
            if stated
            else 'targets are normalized, although the config says they are not',
            f'loss_reconstruction was {logged[-1]:.3g} at the end; of '
            f'{run.checkpoints[-1].name} it is {ours:.3g} with '
            f'model.loss.norm_pix={stated} and {other:.3g} with {not stated} (a factor '
            f'of at most {_APART:g} is expected)',
            'look at the class of model.loss, and at what it makes of norm_pix',
        )
