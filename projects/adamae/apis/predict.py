"""Classes of video files, as a test of the config would predict them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmaction.models.recognizers.base import BaseRecognizer
from mmengine.config import Config
from torch import Tensor

from projects.adamae_command import tool_name

from ..checkpoints.io import read_dataset_meta
from ..datasets.class_names import class_names, difference, known_names
from ..datasets.from_config import innermost, iter_split_datasets
from ..evaluation.ranking import Ranked, activation_of, rank, to_probabilities
from ..utils.text import read_utf8
from ..video.folder import find_videos
from .videos import Outcome, Source, Videos, read_batches, run_batch

_LIST = '.txt'


@dataclass(frozen=True)
class Prediction:
    """What a classifier says about a video.

    Attributes:
        path (str): of the file.
        scores (Tensor, optional): as a test has them (``pred_score``), shape (C,), on
            the CPU; None if the file cannot be read.
        probabilities (Tensor, optional): made of them, shape (C,), float32.
        error (str): why it cannot be read, with its name; ``''`` if it can.
    """

    path: str
    scores: Tensor | None = None
    probabilities: Tensor | None = None
    error: str = ''

    def top(self, k: int) -> list[Ranked]:
        """Give the k likeliest classes, the first first; none without scores."""
        return [] if self.probabilities is None else rank(self.probabilities, k)


def videos_of_test(cfg: Config, sources: Sequence[Source], **options: Any) -> Videos:
    """Have videos read by the test pipeline of a config.

    Args:
        cfg (Config): with a ``test_dataloader``.
        sources (Sequence[str | np.ndarray | int]): files, arrays, cameras.
        **options (Any): of :class:`Videos`.
    """
    dataset = innermost(cfg.test_dataloader['dataset'])
    return Videos(
        sources,
        dataset['pipeline'],
        dataset.get('modality', 'RGB'),
        dataset.get('start_index', 0),
        **options,
    )


def uses_half(cfg: Config) -> bool:
    """Say whether a config tests in half precision."""
    return bool((cfg.get('test_cfg') or {}).get('fp16'))


def predict(
    model: BaseRecognizer,
    cfg: Config,
    files: Sequence[str],
    batch_size: int | None = None,
    num_workers: int | None = None,
) -> Iterator[Prediction]:
    """Classify video files by the test pipeline of a config, its views averaged.

    Scores are those of ``tools/test.py`` for a list of these files, to the last bit
    if batches are the same.

    Args:
        model (BaseRecognizer): a classifier in evaluation mode, from ``load_model``.
        cfg (Config): its config, with a ``test_dataloader``.
        files (Sequence[str]): paths, any number; a few batches are in memory at a time.
        batch_size (int, optional): videos in a batch. Defaults to None: as in testing.
        num_workers (int, optional): processes that read videos. Defaults to None: as in
            testing.

    Yields:
        Prediction: of each file, in their order, also of those that cannot be read.

    Raises:
        UnreachableVideoError: if a file cannot be read for reasons that are not its
            own, such as a lost mount.
        ValueError: if the config has no test pipeline, or the model's scores are not
            one for each class.
    """
    testing = cfg.test_dataloader
    batches = read_batches(
        videos_of_test(cfg, files),
        batch_size or testing.get('batch_size', 1),
        testing.get('num_workers', 0) if num_workers is None else num_workers,
    )
    activation = activation_of(cfg.model.cls_head)
    for batch in batches:
        for outcome in run_batch(model, batch, uses_half(cfg)):
            yield to_prediction(outcome, activation)


def to_prediction(outcome: Outcome, activation: str) -> Prediction:
    """Take from an outcome what a classifier says.

    Args:
        outcome (Outcome): of a video.
        activation (str): see :func:`.ranking.activation_of`.

    Raises:
        ValueError: if the model's scores are not one for each class.
    """
    if outcome.sample is None:
        return Prediction(outcome.name, error=outcome.error)
    scores = outcome.sample.pred_score
    shares = to_probabilities(scores, activation, outcome.name)
    return Prediction(outcome.name, scores, shares)


def names_of_classes(
    cfg: Config, checkpoint: str
) -> tuple[list[str] | None, str | None]:
    """Find the names of a classifier's classes.

    Args:
        cfg (Config): of a classifier; its datasets may have names (``metainfo``).
        checkpoint (str): file of its training, which may have them too, and knows best.

    Returns:
        tuple[list[str] | None, str | None]: names, None if there are none that fit;
        a warning, if both have names and these differ, or they do not fit.

    Raises:
        FileNotFoundError: if the config names a file of names that does not exist.
        ValueError: if names in it are empty or occur twice.
    """
    count = cfg.model.cls_head.get('num_classes')
    saved = known_names(read_dataset_meta(checkpoint))
    warning = None
    if saved and count is not None and len(saved) != count:
        warning = f'{checkpoint}: {len(saved)} names for {count} classes: not used'
        saved = None
    for name, dataset in iter_split_datasets(cfg):
        names = class_names(dataset, name)
        if names and not saved:
            return names, warning
        if names and saved and (other := difference(names, saved)):
            warning = (
                f'{name}.metainfo.classes: not the names in {checkpoint}, which are '
                f'used: {other}'
            )
            break
    return saved, warning


def find_files(sources: Sequence[str]) -> list[str]:
    """List the files that a command line means.

    Args:
        sources (Sequence[str]): video files; folders, for all videos below them; lists
            (``.txt``) with the path of a file in each line, as from the current folder.

    Returns:
        list[str]: paths in this order. Single files are not looked for.

    Raises:
        FileNotFoundError: if a folder holds no video, there is no such list, or nothing
            of what it names.
        ValueError: if a path or a list is empty, or a list no text in UTF-8.
    """
    files: list[str] = []
    for source in sources:
        if not source:  # as a variable of the shell that is not set
            raise ValueError('VIDEO: expected a path, got an empty one')
        if os.path.isdir(source):
            files += find_videos(source, 'VIDEO')
        elif Path(source).suffix.lower() == _LIST:
            files += _read_list(source)
        else:
            files.append(source)
    return files


def _read_list(path: str) -> list[str]:
    if not os.path.isfile(path):
        raise FileNotFoundError(f'VIDEO: no such list: {path}')
    lines = read_utf8(path).replace('\r\n', '\n').split('\n')
    names = [line for line in lines if line.strip()]
    if not names:
        raise ValueError(f'{path}: expected the path of a video in each line, got none')
    if not any(os.path.exists(name) for name in names):
        raise FileNotFoundError(
            f'{path}: none of its {len(names)} lines names a file, the first is '
            f'{names[0]!r}; expected paths as from {os.getcwd()}, without labels (for '
            'a list with labels, there is '
            f'{tool_name("test.py")})'
        )
    return names
