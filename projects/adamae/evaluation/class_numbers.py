"""What a classifier got right, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from mmaction.evaluation import ConfusionMatrix

from .ranking import Ranked


# Not a named tuple: MMEngine makes plain ones of these on the way.
@dataclass(frozen=True, slots=True)
class TestedVideo:
    """A video with its label and what was predicted for it.

    Attributes:
        path (str): of the file or folder.
        label (int): number of its class.
        top (list[Ranked]): the likeliest classes; none if it could not be read.
        probability (float, optional): of its own class.
        place (int, optional): of its own class in the ranking, from 1.
        error (str): why it could not be read; ``''`` if it could.
    """

    path: str
    label: int
    top: list[Ranked]
    probability: float | None = None
    place: int | None = None
    error: str = ''

    @property
    def is_correct(self) -> bool:
        """Whether the likeliest class is its own."""
        return self.place == 1


class ClassNumbers(NamedTuple):
    """Counts of one class.

    Attributes:
        label (int): its number.
        videos (int): of this class.
        unreadable (int): of them; they count as wrong.
        correct (int): videos of the class that were taken for it.
        predicted (int): videos, of whatever class, that were taken for it.
        taken_for (int, optional): the other class that its videos were most often taken
            for; None if that never happened.
        taken_for_videos (int): how many those were.
    """

    label: int
    videos: int
    unreadable: int
    correct: int
    predicted: int
    taken_for: int | None
    taken_for_videos: int

    @property
    def accuracy(self) -> float | None:
        """Correct ones of its videos (recall); None without any."""
        return self.correct / self.videos if self.videos else None

    @property
    def precision(self) -> float | None:
        """Correct ones of those that were taken for it; None without any."""
        return self.correct / self.predicted if self.predicted else None


def confusion_matrix(videos: Sequence[TestedVideo], num_classes: int) -> np.ndarray:
    """Count what videos of each class were taken for.

    Args:
        videos (Sequence[TestedVideo]): those that could not be read are left out.
        num_classes (int): C.

    Returns:
        np.ndarray: int64, shape (C, C), a row for each true class.
    """
    read = [video for video in videos if video.top]
    predicted = torch.tensor([v.top[0].label for v in read], dtype=torch.int64)
    labels = torch.tensor([v.label for v in read], dtype=torch.int64)
    return ConfusionMatrix.calculate(predicted, labels, num_classes).numpy()


def class_numbers(
    videos: Sequence[TestedVideo], matrix: np.ndarray
) -> list[ClassNumbers]:
    """Count by class.

    Args:
        videos (Sequence[TestedVideo]): all of a test.
        matrix (np.ndarray): :func:`confusion_matrix` of them.

    Returns:
        list[ClassNumbers]: one for each class, in the order of their numbers.
    """
    labels = [video.label for video in videos if not video.top]
    unreadable = np.bincount(np.array(labels, int), minlength=len(matrix))
    numbers = []
    for label, row in enumerate(matrix):
        others = row.copy()
        others[label] = 0
        most = int(others.argmax())
        numbers.append(
            ClassNumbers(
                label,
                videos=int(row.sum() + unreadable[label]),
                unreadable=int(unreadable[label]),
                correct=int(row[label]),
                predicted=int(matrix[:, label].sum()),
                taken_for=most if others[most] else None,
                taken_for_videos=int(others[most]),
            )
        )
    return numbers


def overall(
    videos: Sequence[TestedVideo], numbers: Sequence[ClassNumbers]
) -> dict[str, float]:
    """Sum a test up.

    Args:
        videos (Sequence[TestedVideo]): all of it, at least one.
        numbers (Sequence[ClassNumbers]): :func:`class_numbers` of them.

    Returns:
        dict[str, float]: ``videos``, ``unreadable``, and as shares ``top1``, ``top5``,
        ``mean_class_accuracy`` (of the classes with videos), ``chance`` (every class
        equally often) and ``most_frequent_class`` (always that one).
    """
    accuracies = [c.accuracy for c in numbers if c.accuracy is not None]
    places = [video.place for video in videos if video.place]
    return {
        'videos': len(videos),
        'unreadable': sum(c.unreadable for c in numbers),
        'top1': sum(place == 1 for place in places) / len(videos),
        'top5': sum(place <= 5 for place in places) / len(videos),
        'mean_class_accuracy': sum(accuracies) / len(accuracies),
        'chance': 1 / len(numbers),
        'most_frequent_class': max(c.videos for c in numbers) / len(videos),
    }


def worst_videos(
    videos: Sequence[TestedVideo], count: int
) -> dict[str, list[TestedVideo]]:
    """Choose the videos that one should look at.

    Args:
        videos (Sequence[TestedVideo]): all of a test.
        count (int): at most so many of each kind.

    Returns:
        dict[str, list[TestedVideo]]: ``'highest loss'``: those with the lowest
        probability of their own class, which are wrong; ``'confidently wrong'``: those
        with the highest probability of another one. The worst first.
    """
    wrong = [video for video in videos if video.top and not video.is_correct]
    return {
        'highest loss': sorted(wrong, key=lambda v: v.probability or 0)[:count],
        'confidently wrong': sorted(wrong, key=lambda v: -v.top[0].probability)[:count],
    }
