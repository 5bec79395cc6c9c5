"""What the checkpoints of a run say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from ..analysis.health import rankme
from ..checkpoints.io import load_safely, weights_in
from ..evaluation.features import encode
from ..models.mae_recognizer import MAERecognizer
from ..utils.config_text import read_config_text
from .finding import Examination
from .work_folder import WorkFolder

# How these were measured: docs/doctor.md.
_CHANGE = 1e-5  # of the sampler's weights, relative, from checkpoint to checkpoint
_RANK = 1.5  # directions of the features
_RANK_OF_PIXELS = 2.0  # the videos are not alike
_FITS = 0.8  # share of the variance that is left, of targets that are learned


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
            f'weights change by {change["sampler"]:.1e} of their size (more than {_CHANGE:g} '
            f'is expected), the encoder by {change["backbone"]:.1e}{curve}',
            'look for sampler in optim_wrapper.paramwise_cfg.custom_keys (lr_mult), '
            'for frozen parameters, and at model.loss.sampling_weight (1e-4)',
        )


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
def examine_features(model: Any, clips: Tensor, found: Examination) -> None:
    """Count the directions of the encoder's features.

    Args:
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
    elif rank < _RANK:
        found.add(
            'the features have collapsed',
            f'RankMe of {len(clips)} videos is {rank:.2f} (at least {_RANK:g}; 1: all '
            'vectors are multiples of one)',
            'lower optim_wrapper.optimizer.lr or .weight_decay, and look at warm-up',
        )


@torch.no_grad()
def examine_targets(model: MAERecognizer, clips: Tensor, found: Examination) -> None:
    """Find out which targets the predictions are of: pixels, or normalized ones.

    Args:
        model (MAERecognizer): in evaluation mode.
        clips (Tensor): as for :func:`examine_features`.
        found (Examination): is added to.
    """
    target = model.criterion.target
    stated = target.norm_pix
    sums = dict.fromkeys((True, False), (0.0, 0.0))
    for clip in clips:
        sample, predicted = model.reconstruct(clip[None])
        pixels = model.pixels(clip[None], sample.masked_ids)
        for normalized in (True, False):
            target.norm_pix = normalized
            truth = target(pixels, sample.masked_ids)
            error = (predicted - truth).square().mean().item()
            spread = (truth - truth.mean()).square().mean().item()
            a, b = sums[normalized]
            sums[normalized] = a + error, b + spread
    target.norm_pix = stated
    left = {key: error / max(spread, 1e-12) for key, (error, spread) in sums.items()}
    found.measured['error_of_stated'] = left[stated]
    found.measured['error_of_other'] = left[not stated]
    if left[not stated] < min(_FITS, left[stated]):
        names = {True: 'normalized targets', False: 'pixels as they are'}
        found.add(
            'targets are not normalized, and the config says so'
            if stated
            else 'targets are normalized, and the config says they are not',
            f'predictions fit {names[not stated]} ({left[not stated]:.0%} of their '
            f'variance is left) and not {names[stated]} ({left[stated]:.0%}), although '
            f'model.loss.norm_pix={stated}',
            'look at the class of model.loss, and at what it makes of norm_pix',
        )
