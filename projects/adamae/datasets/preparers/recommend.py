"""Settings for a data set of one's own, from what was measured of its videos."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple

from projects.adamae_command import docs_page

from ...utils.batches import FEW_STEPS, largest_batch_size

# Seconds from one frame of a clip to the next: between Kinetics-400 (every 4th of 30 a
# second) and Something-Something v2 (every 2nd of 12).
_STEP = 0.15
# Of the median video that a clip takes at most, as on Something-Something v2.
_SHARE = 2 / 3
# Rates differ if the 95th percentile is so many times the 5th.
_MIXED = 1.5
# ViT-B was pre-trained from scratch on the 3,600 videos of HMDB51 (arXiv:2203.12602).
FEW_FOR_VITB = 3000
_MODELS = dict(vits=dict(embed_dims=384, num_heads=6), vitb={})
# Short side of the median video, from which on: image and patch of the model.
_SIZES = ((160, 224, 16), (80, 112, 8), (48, 64, 8), (0, 32, 4))
_MASK_RATIO, _LOWER_MASK_RATIO, _FEW_VISIBLE = 0.95, 0.9, 32
# Up to how many training videos: epochs of pre-training. 3,200 on the 9,500 of UCF101
# and 1,600 on Kinetics-400 are VideoMAE's, 800 AdaMAE's.
_EPOCHS = ((499, 800), (19_999, 3200), (99_999, 1600))
_MOST_EPOCHS = 800
_WARMUP_SHARE = 20  # 40 of 800 epochs
_STEPS_PER_CHECKPOINT = 5000
_PRETRAIN_BATCH, _FINETUNE_BATCH, _PROBE_BATCH = 32, 16, 64
_REPEATS = 4  # crops of a clip, arXiv:2205.09113
_MANY_FOR_FINETUNING = 20_000
_FEW_UPDATES = 2000
_MOST_FINETUNING_EPOCHS = 300
# Of labeled videos. HMDB51's 3,570 are fine-tuned without blending by arXiv:2211.10636;
# of 60 the published settings learned next to nothing (docs/benchmarks.md). The
# limit between is a choice.
_FEW_LABELED = 1000
# Short side from which on frames are shrunk before they are augmented, pixels.
_LARGE = 480
_DIRECTIONS = ('left', 'right', 'clockwise', 'counterclockwise', 'anticlockwise')


class Reason(NamedTuple):
    """Why a setting has its value.

    Attributes:
        setting (str): of the plan.
        value (str): as people write it.
        why (str): one line.
        note (str): a few words of it, for a comment. Defaults to ''.
    """

    setting: str
    value: str
    why: str
    note: str = ''


@dataclass(frozen=True)
class Plan:
    """How to train on a data set.

    Attributes:
        size (str): of the encoder, 'vits' or 'vitb'.
        backbone (dict): what differs from ViT-B with 16 frames of 224 x 224 pixels.
        num_frames (int): of a clip.
        mask_ratio (float): share of the tokens that are masked.
        frame_interval (int, optional): from one frame of a clip to the next, in frames
            of the video; None: see ``frames_per_second``.
        frames_per_second (float, optional): of a clip, where the videos have several
            frame rates.
        flip_ratio (float): share of the clips that are flipped in training.
        large_frames (bool): whether to shrink frames before they are augmented.
        batch_size (int): videos of a step of pre-training, for one process.
        repeats (int): crops of each of their clips.
        epochs (int): of pre-training.
        warmup_epochs (int): of these.
        checkpoint_interval (int): epochs between two checkpoints.
        finetune_batch_size (int): videos of a step of fine-tuning.
        finetune_epochs (int): of fine-tuning.
        few_labeled (bool): whether to fine-tune by the settings for few videos.
        keep_best (bool): whether validation chooses the checkpoint of fine-tuning.
        probe_batch_size (int): videos of a step of the linear probe.
        reasons (tuple[Reason, ...]): for people.
    """

    size: str
    backbone: dict[str, int]
    num_frames: int
    mask_ratio: float
    frame_interval: int | None
    frames_per_second: float | None
    flip_ratio: float
    large_frames: bool
    batch_size: int
    repeats: int
    epochs: int
    warmup_epochs: int
    checkpoint_interval: int
    finetune_batch_size: int
    finetune_epochs: int
    few_labeled: bool
    keep_best: bool
    probe_batch_size: int
    reasons: tuple[Reason, ...]


def recommend(summary: Mapping[str, Any], flip: bool = True) -> Plan:
    """Choose settings.

    Args:
        summary (Mapping): content of the ``summary.json`` of a prepared data set.
        flip (bool): False if left and right make a difference to the classes. Defaults
            to True: the names of the classes decide.

    Returns:
        Plan: the settings.

    Raises:
        ValueError: if no video is left to train on.
    """
    numbers = {s: c['videos'] for s, c in summary['splits'].items()}
    labeled = numbers.get('train', 0)
    count = summary.get('pretrain', {}).get('videos', labeled)
    if not labeled:
        raise ValueError('splits.train: expected videos to train on, got none')
    clip, reasons = _clip(summary)
    size = 'vits' if count < FEW_FOR_VITB else 'vitb'
    reasons.append(
        Reason(
            'model',
            {'vits': 'ViT-S', 'vitb': 'ViT-B'}[size],
            f'{_videos(count)} to train on; ViT-B is known to learn from '
            f'{FEW_FOR_VITB:,} or more (arXiv:2203.12602)',
        )
    )
    image, patch, mask_ratio = _resolution(summary, clip['num_frames'], reasons)
    flip_ratio = _flip(summary.get('classes', ()), flip, reasons)

    batch = largest_batch_size(count, _PRETRAIN_BATCH)
    repeats = 1 if batch == _PRETRAIN_BATCH else _REPEATS
    steps = count // batch
    why = f'{steps:,} steps an epoch, {_videos(count - steps * batch)} left out of it'
    if batch < _PRETRAIN_BATCH and steps >= FEW_STEPS:
        why += f'; the largest with {FEW_STEPS} steps'
    if repeats > 1:
        why += f'; {repeats} crops of every clip make a step of {batch * repeats}'
    reasons.append(Reason('batch of pre-training', _videos(batch), why))

    epochs = next((e for most, e in _EPOCHS if count <= most), _MOST_EPOCHS)
    warmup = epochs // _WARMUP_SHARE
    reasons.append(
        Reason(
            'epochs of pre-training',
            f'{epochs:,}, {warmup} of warm-up',
            f'{epochs * steps:,} steps; '
            + (
                'so few videos are for a trial: better continue from released weights '
                f'({docs_page("recipes")})'
                if count <= _EPOCHS[0][0]
                else 'few videos are seen more often: 3,200 times the 9,500 of UCF101 '
                '(arXiv:2203.12602), 800 those of Something-Something (2211.09120)'
            ),
        )
    )
    interval = max(1, min(ceil(_STEPS_PER_CHECKPOINT / steps), epochs // 20))

    tuning_batch = _labeled_batch(labeled, _FINETUNE_BATCH)
    tuning = 50 if labeled >= _MANY_FOR_FINETUNING else 100
    enough = ceil(_FEW_UPDATES / (labeled // tuning_batch))
    tuning = max(tuning, min(enough, _MOST_FINETUNING_EPOCHS))
    few = labeled < _FEW_LABELED
    own_val = bool(numbers.get('val') and numbers.get('test'))
    if summary.get('num_classes'):
        reasons += [
            Reason(
                'fine-tuning',
                f'{_videos(tuning_batch)} a step, {tuning} epochs',
                f'{tuning * (labeled // tuning_batch):,} steps; at least '
                f'{_FEW_UPDATES:,} where {_MOST_FINETUNING_EPOCHS} epochs reach that',
            ),
            _augmentation(labeled, few),
            *_tests(numbers, few, own_val),
        ]
    backbone = {
        **_MODELS[size],
        **({} if image == 224 else dict(img_size=image, patch_size=patch)),
        **({} if clip['num_frames'] == 16 else dict(num_frames=clip['num_frames'])),
    }
    return Plan(
        size=size,
        backbone=backbone,
        mask_ratio=mask_ratio,
        flip_ratio=flip_ratio,
        large_frames=summary['short_side']['median'] >= _LARGE,
        batch_size=batch,
        repeats=repeats,
        epochs=epochs,
        warmup_epochs=warmup,
        checkpoint_interval=interval,
        finetune_batch_size=tuning_batch,
        finetune_epochs=tuning,
        few_labeled=few,
        keep_best=own_val and not few,
        probe_batch_size=_labeled_batch(labeled, _PROBE_BATCH),
        reasons=tuple(reasons),
        **clip,
    )


def _videos(count: int) -> str:
    return f'{count:,} video{"s" * (count != 1)}'


def _labeled_batch(count: int, most: int) -> int:
    return max(min(count, 2), largest_batch_size(count, most))


def _augmentation(labeled: int, few: bool) -> Reason:
    if not few:
        return Reason(
            'augmentation',
            'as published: RandAugment, erasing, Mixup, CutMix, smoothing',
            f'{_FEW_LABELED:,} labeled videos or more; the rate is in proportion to '
            'the batch',
        )
    return Reason(
        'augmentation',
        'crops and flips only, and a rate for a small batch',
        f'{labeled:,} labeled training videos: below {_FEW_LABELED:,}, what is '
        f'published for tens of thousands learns little ({docs_page("datasets")})',
    )


def _tests(numbers: Mapping[str, int], few: bool, own_val: bool) -> list[Reason]:
    """Say which checkpoint is tested, and what the accuracy of the test is worth."""
    number = numbers.get('test') or numbers.get('val')
    if not number:
        return []
    why = 'few videos for validation would choose one by chance'
    if not own_val:
        why = 'one list stands for validation and test, so it must not choose one'
    elif not few:
        why = f'{_videos(numbers["val"])} choose it, others test it'
    error = 100 * (0.25 / number) ** 0.5
    return [
        Reason('checkpoint', 'the last' if few or not own_val else 'the best', why),
        Reason(
            'accuracy',
            f'of {_videos(number)}',
            f'one is {100 / number:.2g} points; by chance, an accuracy of 50% '
            f'varies by {error:.2g} points (standard error)',
        ),
    ]


def _clip(summary: Mapping[str, Any]) -> tuple[dict[str, Any], list[Reason]]:
    """Choose the frames of a clip and the time from one to the next."""
    frames, rates = summary['frames']['median'], summary['fps']
    seconds, rate = summary['seconds']['median'], rates['median']
    num_frames = next((n for n in (16, 8) if n <= frames), 4)
    why = f'the median video has {frames:g}'
    if num_frames == 16:
        why += ', and 16 are what the published models take'
    reasons = [Reason('frames of a clip', str(num_frames), why)]

    if rates['p95'] >= _MIXED * rates['p5'] > 0:
        wanted = min(_STEP, _SHARE * seconds / num_frames)
        per_second = max(round(1 / wanted, 1), 0.1)
        span = f'a clip lasts {num_frames / per_second:.2g} of {seconds:.2g} s'
        value = f'{per_second:g} frames a second'
        rated = f'the videos have {rates["p5"]:g} to {rates["p95"]:g} frames a second'
        why = f'{rated}, so one stride would be several speeds; {span}'
        note = f'{rated[0].upper()}{rated[1:]}; {span}.'
        reasons.append(Reason('stride', value, why, note))
        clip = dict(frame_interval=None, frames_per_second=per_second)
    else:
        by_rate = ceil(rate * _STEP - 0.501)  # 4 of 30 a second
        by_length = int(_SHARE * frames / num_frames)
        interval = max(1, min(by_rate, by_length))
        span = f'{num_frames * interval / rate:.2g}' if rate else 'all'
        note = f'{rate:g} frames a second: a clip lasts {span} of {seconds:.2g} s'
        why = note
        if interval == by_rate <= by_length:
            why += ', as published for Something-Something and Kinetics (2 to 2.7 s)'
        elif interval == by_length:
            why += ', at most two thirds of the median video'
        stride = f'1 of {interval} frames' if interval > 1 else 'every frame'
        note = f'{stride[0].upper()}{stride[1:]}, of {note}.'
        reasons.append(Reason('stride', stride, why, note))
        clip = dict(frame_interval=interval, frames_per_second=None)
    return dict(num_frames=num_frames, **clip), reasons


def _resolution(
    summary: Mapping[str, Any], num_frames: int, reasons: list[Reason]
) -> tuple[int, int, float]:
    side = summary['short_side']['median']
    image, patch = next((i, p) for least, i, p in _SIZES if side >= least)
    tokens = num_frames // 2 * (image // patch) ** 2
    few = tokens * (1 - _MASK_RATIO) < _FEW_VISIBLE
    mask_ratio = _LOWER_MASK_RATIO if few else _MASK_RATIO
    reasons.append(
        Reason(
            'resolution',
            f'{image} x {image} in patches of {patch}',
            f'the short side of the median video has {side:g} pixels'
            + ('' if image == 224 else ': more would show nothing new'),
        )
    )
    visible = tokens - int(tokens * mask_ratio)
    reasons.append(
        Reason(
            'masked',
            f'{mask_ratio:.0%} of {tokens} tokens',
            f'{visible} stay visible'
            + (
                f'; the published {_MASK_RATIO:.0%} would leave too few'
                if few
                else ', as published (arXiv:2211.09120)'
            ),
        )
    )
    return image, patch, mask_ratio


def _flip(classes: Sequence[str], flip: bool, reasons: list[Reason]) -> float:
    directed = [name for name in classes if _has_direction(name)]
    ratio, why = 0.5, 'with --no-flip none, if left and right tell classes apart'
    if not flip:
        ratio, why = 0.0, 'left and right make a difference, you say (--no-flip)'
    elif directed:
        ratio, why = 0.0, f'the name of a class has a direction: {directed[0]!r}'
    reasons.append(Reason('flips', f'{ratio:.0%} of the clips', why))
    return ratio


def _has_direction(name: str) -> bool:
    """Whether a name has one of the words, be it in camel case or between marks."""
    words = re.findall('[A-Z]?[a-z]+|[A-Z]+', name)
    return any(word.lower() in _DIRECTIONS for word in words)
