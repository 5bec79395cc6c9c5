"""Classes of video files, as a test of the config would predict them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmaction.models.recognizers.base import BaseRecognizer
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.runner import autocast
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..checkpoints.io import read_dataset_meta
from ..datasets.class_names import class_names, difference, known_names
from ..datasets.from_config import innermost, iter_split_datasets
from ..datasets.loading import guard_loading
from ..evaluation.features import ErrorsAsValues
from ..evaluation.ranking import Ranked, activation_of, rank, to_probabilities
from ..models.transformer import set_attention_kernel
from ..utils import cpu
from ..video.folder import find_videos

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


class VideoFiles(Dataset):
    """Video files that are read by the test pipeline of a config.

    Args:
        files (Sequence[str]): their paths.
        cfg (Config): with a ``test_dataloader``.
    """

    def __init__(self, files: Sequence[str], cfg: Config) -> None:
        self.files = files
        source = innermost(cfg.test_dataloader['dataset'])
        self._info = {
            'modality': source.get('modality', 'RGB'),
            'start_index': source.get('start_index', 0),
        }
        self._pipeline = Compose(source['pipeline'])
        self._pipeline.transforms = guard_loading(self._pipeline.transforms)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        return self._pipeline(self.get_data_info(index))

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Give what the pipeline starts with."""
        return {'filename': self.files[index], **self._info}


@torch.no_grad()
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
    loader = DataLoader(
        ErrorsAsValues(VideoFiles(files, cfg)),
        batch_size or testing.get('batch_size', 1),
        num_workers=testing.get('num_workers', 0)
        if num_workers is None
        else num_workers,
        collate_fn=list,
        generator=torch.Generator(),  # else it would draw from the global state
    )
    half = bool((cfg.get('test_cfg') or {}).get('fp16'))
    activation = activation_of(cfg.model.cls_head)
    set_attention_kernel(model, onednn=cpu.uses_onednn())  # as in a test
    done = 0
    for videos in loader:
        batch = [video for video in videos if not isinstance(video, Exception)]
        samples: Iterator[Any] = iter(())
        if batch:
            with autocast(enabled=half):
                samples = iter(model.test_step(pseudo_collate(batch)))
        for video in videos:
            path = files[done]
            done += 1
            if isinstance(video, Exception):
                yield Prediction(path, error=str(video))
            else:
                scores = next(samples).pred_score.cpu()
                shares = to_probabilities(scores, activation, path)
                yield Prediction(path, scores, shares)


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
        ValueError: if a list is empty or no text in UTF-8.
    """
    files: list[str] = []
    for source in sources:
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
    try:
        with open(path, encoding='utf-8-sig') as file:
            lines = [line.rstrip('\r\n') for line in file]
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{path}: expected text in UTF-8, got the byte '
            f'{error.object[error.start]:#x}'
        ) from error
    names = [line for line in lines if line.strip()]
    if not names:
        raise ValueError(f'{path}: expected the path of a video in each line, got none')
    if not any(os.path.exists(name) for name in names):
        raise FileNotFoundError(
            f'{path}: none of its {len(names)} lines names a file, the first is '
            f'{names[0]!r}; expected paths as from {os.getcwd()}, without labels (for '
            'a list with labels, there is tools/test.py)'
        )
    return names
