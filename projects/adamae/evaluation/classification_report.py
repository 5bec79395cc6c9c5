"""What a test says about each class and each video, with names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mmaction.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from PIL import Image

from ..datasets.class_names import known_names
from ..utils.fileio import atomic_path
from ..utils.text import printable, shorten
from .class_numbers import (
    ClassNumbers,
    TestedVideo,
    class_numbers,
    confusion_matrix,
    overall,
    worst_videos,
)
from .ranking import (
    ACTIVATIONS,
    decimal,
    name_of,
    rank,
    ranked_columns,
    ranked_fields,
    ranked_objects,
    to_probabilities,
)
from .rows_file import CsvFile, JsonFile

_TOP = 5
# Of each kind in the file; in the log.
_WORST, _SHOWN = 100, 5
_LONGEST = 44  # characters of a name in the log


@METRICS.register_module()
class ClassificationReport(BaseMetric):
    """Predictions, accuracy by class, confusion matrix and worst videos, with names.

    Of a test with one label for each video, after its views are averaged. The log gets
    a summary; ``out_dir`` gets

    - ``predictions.csv`` and ``predictions.json``: every video, in the order of the
      list;
    - ``classes.csv``: videos, accuracy and precision of each class, and what it is most
      often taken for;
    - ``confusion_matrix.csv`` (videos, a row for each true class) and ``.png`` (shares
      of each row);
    - ``worst_videos.csv``: the 100 with the lowest probability of their own class
      (highest loss), and the 100 that are wrong with the highest probability.

    Videos that could not be read count as wrong, as in MMAction2's ``AccMetric``, and
    are in no cell of the confusion matrix.

    Args:
        out_dir (str, optional): folder of the files. Defaults to None: only the log.
        classes (Sequence[str], optional): names to use where the dataset has none
            (``metainfo.classes``). Defaults to None: their numbers.
        activation (str): what makes probabilities of the scores, ``'none'``,
            ``'softmax'`` or ``'sigmoid'``. Defaults to ``'none'``;
            ``tools/test.py`` sets what fits the head where a config does not.
        collect_device (str): as in MMEngine. Defaults to ``'cpu'``.
        prefix (str, optional): as in MMEngine. Defaults to None: ``'report'``.

    Raises:
        ValueError: if ``activation`` is none of these.
    """

    default_prefix = 'report'

    def __init__(
        self,
        out_dir: str | None = None,
        classes: Sequence[str] | None = None,
        activation: str = 'none',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if activation not in ACTIVATIONS:
            raise ValueError(
                f'activation: expected one of {", ".join(ACTIVATIONS)}, got '
                f'{activation!r}'
            )
        self.out_dir = out_dir
        self.classes = classes
        self.activation = activation
        self._num_classes = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep of one batch what the report needs.

        Args:
            data_batch (Any): not looked at.
            data_samples (Sequence[dict]): with ``pred_score`` (C,) and ``gt_label``
                (1,); ``filename`` or ``frame_dir``, of the pipeline's ``meta_keys``,
                name the video.

        Raises:
            ValueError: if a video has several labels, or one that is no class.
        """
        for sample in data_samples:
            path = sample.get('filename') or sample.get('frame_dir') or ''
            labels = sample['gt_label'].tolist()
            self._num_classes = sample['pred_score'].shape[-1]
            if len(labels) != 1 or not 0 <= labels[0] < self._num_classes:
                raise ValueError(
                    f'ClassificationReport: {path}: expected one label from 0 to '
                    f'{self._num_classes - 1}, got {labels}'
                )
            label = int(labels[0])
            if 'unreadable' in sample:  # its scores are those of another video
                video = TestedVideo(path, label, [], error=sample['unreadable'])
            else:
                scores = to_probabilities(sample['pred_score'], self.activation, path)
                own = scores[label]
                better = (scores > own).sum() + (scores[:label] == own).sum()
                video = TestedVideo(
                    path,
                    label,
                    top=rank(scores, _TOP),
                    probability=own.item(),
                    place=1 + int(better),
                )
            self.results.append(video)

    def compute_metrics(self, results: list[TestedVideo]) -> dict[str, float]:
        """Write the report; accuracies are left to MMAction2's ``AccMetric``.

        Args:
            results (list[TestedVideo]): all of the test.

        Returns:
            dict[str, float]: nothing.
        """
        videos = [
            video if video.path else replace(video, path=f'video {number}')
            for number, video in enumerate(results)
        ]
        classes = known_names(self.dataset_meta) or self.classes
        if classes and len(classes) != self._num_classes:
            print_log(
                f'{len(classes)} names for {self._num_classes} classes: the report '
                'has their numbers',
                'current',
                level=30,
            )
            classes = None
        matrix = confusion_matrix(videos, self._num_classes)
        numbers = class_numbers(videos, matrix)
        metrics = overall(videos, numbers)
        print_log(_summary(videos, numbers, metrics, classes), 'current')
        if self.out_dir:
            # It imports matplotlib, which every import of the package would wait for.
            from .confusion_picture import draw_confusion_matrix

            folder = Path(self.out_dir)
            _write_predictions(folder, videos, numbers, metrics, classes)
            _write_classes(folder / 'classes.csv', numbers, classes)
            _write_matrix(folder / 'confusion_matrix.csv', matrix, classes)
            _write_worst(folder / 'worst_videos.csv', videos, classes)
            with atomic_path(folder / 'confusion_matrix.png') as unfinished:
                picture = Image.fromarray(draw_confusion_matrix(matrix, classes))
                picture.save(unfinished, 'png')
            print_log(f'Report of classes and videos in {folder}', 'current')
        return {}


def _write_predictions(
    folder: Path,
    videos: Sequence[TestedVideo],
    numbers: Sequence[ClassNumbers],
    metrics: dict[str, float],
    classes: Sequence[str] | None,
) -> None:
    columns = [
        *('path', 'label', 'class', 'correct', 'class_probability'),
        *ranked_columns(_TOP),
        'error',
    ]
    per_class = [
        {'label': c.label, 'class': name_of(c.label, classes), **_class_values(c)}
        for c in numbers
    ]
    names = classes and [*classes]
    head = {'classes': names, 'metrics': metrics, 'per_class': per_class}
    with (
        CsvFile(folder / 'predictions.csv', columns) as table,
        JsonFile(folder / 'predictions.json', **head) as objects,
    ):
        for v in videos:
            known = (v.path, v.label, name_of(v.label, classes), int(v.is_correct))
            ranked = ranked_fields(v.top, _TOP, classes)
            table.write((*known, decimal(v.probability), *ranked, v.error))
            objects.write(
                {
                    'path': v.path,
                    'label': v.label,
                    'class': name_of(v.label, classes),
                    'correct': v.is_correct,
                    'class_probability': v.probability,
                    'top': ranked_objects(v.top, classes),
                    'error': v.error or None,
                }
            )


def _class_values(c: ClassNumbers) -> dict[str, float | None]:
    return {
        'videos': c.videos,
        'unreadable': c.unreadable,
        'correct': c.correct,
        'predicted': c.predicted,
        'accuracy': c.accuracy,
        'precision': c.precision,
    }


def _write_classes(
    path: Path, numbers: Sequence[ClassNumbers], classes: Sequence[str] | None
) -> None:
    values = [*_class_values(numbers[0])]
    last = ('most_confused_with', 'most_confused_videos')
    with CsvFile(path, ['label', 'class', *values, *last]) as table:
        for c in numbers:
            table.write(
                (
                    c.label,
                    name_of(c.label, classes),
                    *(
                        decimal(v) if isinstance(v, float) else v
                        for v in _class_values(c).values()
                    ),
                    None if c.taken_for is None else name_of(c.taken_for, classes),
                    c.taken_for_videos,
                )
            )


def _write_matrix(
    path: Path, matrix: np.ndarray, classes: Sequence[str] | None
) -> None:
    names = [name_of(label, classes) for label in range(len(matrix))]
    with CsvFile(path, ['true class / predicted class', *names]) as table:
        for name, row in zip(names, matrix.tolist(), strict=True):
            table.write((name, *row))


def _write_worst(
    path: Path, videos: Sequence[TestedVideo], classes: Sequence[str] | None
) -> None:
    columns = ('kind', 'path', 'class', 'class_probability', 'predicted_class')
    with CsvFile(path, (*columns, 'probability')) as table:
        for kind, worst in worst_videos(videos, _WORST).items():
            for v in worst:
                best = v.top[0]
                table.write(
                    (
                        *(kind, v.path, name_of(v.label, classes)),
                        *(decimal(v.probability), name_of(best.label, classes)),
                        decimal(best.probability),
                    )
                )


def _summary(
    videos: Sequence[TestedVideo],
    numbers: Sequence[ClassNumbers],
    metrics: dict[str, float],
    classes: Sequence[str] | None,
) -> str:
    """Say the most important in a few lines."""

    def name(label: int) -> str:
        return shorten(printable(name_of(label, classes)), _LONGEST)

    count, bad = metrics['videos'], metrics['unreadable']
    # With five classes or fewer it is 100% whatever the model says.
    top5 = f', top-5 {metrics["top5"]:.2%}' if len(numbers) > 5 else ''
    lines = [
        f'{count} videos, {len(numbers)} classes'
        + (f'; {bad} unreadable videos count as wrong' if bad else ''),
        f'  top-1 {metrics["top1"]:.2%}{top5}, mean class accuracy '
        f'{metrics["mean_class_accuracy"]:.2%}',
        f'  chance {metrics["chance"]:.2%}; always the most frequent class '
        f'{metrics["most_frequent_class"]:.2%}',
    ]
    listed = [c for c in numbers if c.accuracy is not None and c.accuracy < 1]
    listed.sort(key=lambda c: (c.accuracy, -c.videos))
    if listed:
        lines.append('worst classes (accuracy, videos, most often taken for)')
    for c in listed[:_SHOWN]:
        other = (
            '' if c.taken_for is None else f'{name(c.taken_for)} ({c.taken_for_videos})'
        )
        lines.append(f'  {c.accuracy:>7.2%} {c.videos:>5}  {name(c.label)}: {other}')
    wrong = worst_videos(videos, _SHOWN)['highest loss']
    if wrong:
        lines.append('worst videos (probability of their class, and of another one)')
    for v in wrong:
        best = v.top[0]
        lines.append(
            f'  {v.probability:>7.2%} {name(v.label)}, {best.probability:.2%} '
            f'{name(best.label)}: {printable(v.path)}'
        )
    return '\n'.join(lines)
