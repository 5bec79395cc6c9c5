"""The likeliest classes of a video, and how they are written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import torch
from mmaction.models.losses import BCELossWithLogits
from mmaction.registry import MODELS
from torch import Tensor

#: What makes probabilities of the scores that a head gives.
Activation = Literal['none', 'softmax', 'sigmoid']
ACTIVATIONS: tuple[str, ...] = get_args(Activation)


class Ranked(NamedTuple):
    """A class, as likely as a classifier says.

    Attributes:
        label (int): its number.
        probability (float): from 0 to 1.
    """

    label: int
    probability: float


def activation_of(head: Any) -> Activation:
    """Say what a head leaves to do until its scores are probabilities.

    Args:
        head (dict): config of a head of MMAction2. With ``average_clips='prob'`` its
            scores are probabilities, with ``'score'`` they are what goes into the loss.
    """
    if head.get('average_clips') == 'prob':
        return 'none'
    loss = (head.get('loss_cls') or {}).get('type', 'CrossEntropyLoss')
    kind = MODELS.get(loss) if isinstance(loss, str) else loss
    is_many_hot = isinstance(kind, type) and issubclass(kind, BCELossWithLogits)
    return 'sigmoid' if is_many_hot else 'softmax'


def to_probabilities(scores: Tensor, activation: str, name: str) -> Tensor:
    """Make probabilities of scores.

    Args:
        scores (Tensor): shape (C,), float.
        activation (str): see :func:`activation_of`.
        name (str): of the video, for errors.

    Returns:
        Tensor: shape (C,), float32, on the CPU.

    Raises:
        ValueError: if the scores are not one for each class, or not finite.
    """
    if scores.ndim != 1:
        raise ValueError(
            f'{name}: expected one score for each class, got {tuple(scores.shape)}: '
            'those of several clips? Set --cfg-options '
            "model.cls_head.average_clips='prob'"
        )
    scores = scores.detach().float().cpu()
    if not scores.isfinite().all():
        raise ValueError(
            f'{name}: expected finite scores, got NaN or infinity: too large for half '
            'precision? Set --cfg-options test_cfg.fp16=False'
        )
    if activation == 'softmax':
        return scores.softmax(0)
    return scores.sigmoid() if activation == 'sigmoid' else scores


def rank(probabilities: Tensor, k: int) -> list[Ranked]:
    """Give the k likeliest classes; of equals, the one with the lower number first.

    Args:
        probabilities (Tensor): shape (C,).
        k (int): how many; all of them if there are fewer.
    """
    values, labels = torch.sort(probabilities, descending=True, stable=True)
    pairs = zip(labels[:k].tolist(), values[:k].tolist(), strict=True)
    return [Ranked(*pair) for pair in pairs]


def name_of(label: int, classes: Sequence[str] | None) -> str:
    """Name a class: by its number if there are no names."""
    return classes[label] if classes else str(label)


def ranked_columns(k: int) -> list[str]:
    """Name the columns of :func:`ranked_fields`."""
    first = ['predicted_label', 'predicted_class', 'probability']
    others = ([f'class_{i}', f'probability_{i}'] for i in range(2, k + 1))
    return [*first, *(column for pair in others for column in pair)]


def ranked_fields(
    top: Sequence[Ranked], k: int, classes: Sequence[str] | None
) -> list[Any]:
    """Lay a ranking out for a table.

    Args:
        top (Sequence[Ranked]): the likeliest first; none if the video is unreadable.
        k (int): columns there are for them.
        classes (Sequence[str], optional): their names.
    """
    if not top:
        return [None] * (2 * k + 1)
    fields: list[Any] = [top[0].label]
    for label, probability in top:
        fields += [name_of(label, classes), decimal(probability)]
    return fields + [None] * (2 * k + 1 - len(fields))


def ranked_objects(
    top: Sequence[Ranked], classes: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Lay a ranking out for JSON."""
    return [
        {'label': label, 'class': name_of(label, classes), 'probability': probability}
        for label, probability in top
    ]


def decimal(value: float | None) -> str | None:
    """Write a share or probability for a table, with six digits that count."""
    return None if value is None else f'{value:.6g}'
