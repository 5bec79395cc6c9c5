"""What an encoder makes of videos: one vector each, or the whole token grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from mmaction.models.recognizers.base import BaseRecognizer
from mmengine.dataset import (
    BaseDataset,
    ConcatDataset,
    DefaultSampler,
    pseudo_collate,
)
from mmengine.dist import all_gather, all_gather_object
from safetensors.numpy import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..datasets.from_config import video_name
from ..datasets.loading import UnreachableVideoError
from ..utils.fileio import atomic_path
from ..video.error import VideoError, one_line


class ErrorsAsValues(Dataset):
    """Give an error of a dataset in the place of its video: one line, with its name.

    As a value it leaves a worker without the traceback.
    """

    def __init__(self, dataset: BaseDataset | ConcatDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except UnreachableVideoError:
            raise  # the next ones will not be read either
        except Exception as error:  # decord raises a class of its own
            return unreadable(video_name(self.dataset.get_data_info(index)), error)


def unreadable(name: str, error: Exception) -> VideoError:
    """Say in one line which video cannot be read, and why."""
    if isinstance(error, VideoError):
        return VideoError(str(error))  # without what its traceback holds
    kind = type(error).__name__
    return VideoError(f'{name}: cannot be read ({kind}: {one_line(error)})')


@torch.no_grad()
def encode(
    model: BaseRecognizer, clips: Tensor, tokens: bool = False, views: int = 1
) -> Tensor:
    """Encode clips without masking any token.

    The vector of a clip is the mean over its tokens as the encoder gives them; an
    encoder that was fine-tuned normalizes after that mean, as its classifier sees it.

    Args:
        model (BaseRecognizer): in evaluation mode.
        clips (Tensor): normalized, shape (B * views, C, T, H, W), float.
        tokens (bool): give the token grid instead. Defaults to False.
        views (int): clips per video, next to each other. Their vectors are averaged.
            Defaults to 1.

    Returns:
        Tensor: shape (B, D), or (B, t, h, w, D) for tokens; float32.

    Raises:
        ValueError: if tokens of several clips per video are asked for.
    """
    backbone = model.backbone
    if tokens and views > 1:
        raise ValueError(
            f'expected one clip per video for a token grid, got {views}; choose a '
            'pipeline with num_clips=1 and one crop'
        )
    x = backbone.encode(backbone.embed(clips)).float()
    if tokens:
        return x.unflatten(1, backbone.token_grid)
    return backbone.pool(x).unflatten(0, (-1, views)).mean(1)


def iter_features(
    model: BaseRecognizer,
    dataset: BaseDataset | ConcatDataset,
    batch_size: int,
    num_workers: int = 0,
    tokens: bool = False,
    errors: dict[int, str] | None = None,
) -> Iterator[Tensor]:
    """Encode a dataset, batch by batch.

    In a distributed run each process gets every n-th video, and the last ones begin
    again with the first so that all processes get as many.

    Args:
        model (BaseRecognizer): in evaluation mode.
        dataset (BaseDataset): with ``PackActionInputs`` at the end of its pipeline.
        batch_size (int): videos per batch.
        num_workers (int): processes that read videos. Defaults to 0.
        tokens (bool): see :func:`encode`. Defaults to False.
        errors (dict[int, str], optional): leave videos that cannot be read out, and put
            their number and the error here. Defaults to None: raise it.

    Yields:
        Tensor: features of a batch, on the CPU, in the order of the dataset.

    Raises:
        VideoError: if a video cannot be read, unless ``errors`` are kept; names it.
    """
    loader = DataLoader(
        ErrorsAsValues(dataset),
        batch_size,
        # Without a seed of its own it would draw one, at the cost of the global state.
        sampler=DefaultSampler(dataset, shuffle=False, seed=0),
        num_workers=num_workers,
        collate_fn=list,
        generator=torch.Generator(),
    )
    for batch, videos in enumerate(loader):
        for number, error in enumerate(videos, batch * batch_size):
            if isinstance(error, Exception):
                if errors is None:
                    raise error
                errors[number] = str(error)
        videos = [video for video in videos if not isinstance(video, Exception)]
        if not videos:
            continue
        clips = model.data_preprocessor(pseudo_collate(videos))['inputs']
        clips = clips.reshape(-1, *clips.shape[-4:])
        yield encode(model, clips, tokens, len(clips) // len(videos)).cpu()


def extract(
    model: BaseRecognizer,
    dataset: BaseDataset | ConcatDataset,
    batch_size: int,
    num_workers: int = 0,
) -> Tensor:
    """Give the vectors of all videos; in a distributed run, to every process.

    Args:
        model (BaseRecognizer): in evaluation mode.
        dataset (BaseDataset): with ``PackActionInputs`` at the end of its pipeline.
        batch_size (int): videos per batch.
        num_workers (int): processes that read videos. Defaults to 0.

    Returns:
        Tensor: shape (V, D), float32, on the CPU, in the order of the dataset.

    Raises:
        VideoError: on every process, if one of them cannot read a video; names it.
    """
    share, problem = torch.empty(0), None
    try:
        share = torch.cat([*iter_features(model, dataset, batch_size, num_workers)])
    except VideoError as error:
        problem = str(error)
    # Otherwise the other processes would wait for this one.
    for message in filter(None, all_gather_object(problem)):
        raise VideoError(message)
    return torch.stack(all_gather(share), dim=1).flatten(0, 1)[: len(dataset)]


def write(path: Path, batches: Iterable[Tensor], shape: tuple[int, ...]) -> int:
    """Write features to a file, which appears when it is complete.

    Args:
        path (Path): ends in ``.npy``, written as they come, or in ``.safetensors``
            (under the name ``features``), for which they must fit into memory.
        batches (Iterable[Tensor]): shape (B, ...), float32, on the CPU.
        shape (tuple[int, ...]): of all of them together, (V, ...), or of more.

    Returns:
        int: V, how many there were.
    """
    done = 0
    with atomic_path(path) as unfinished:
        if path.suffix == '.npy':
            # Token grids of a large dataset do not fit into memory.
            with open(unfinished, 'wb') as file:
                _write_npy_header(file, shape)
                for batch in batches:
                    file.write(batch.numpy().astype('<f4').tobytes())
                    done += len(batch)
                file.seek(0)
                # It has room for any number of rows.
                _write_npy_header(file, (done, *shape[1:]))
        else:
            rows = np.empty(shape, np.float32)
            for batch in batches:
                rows[done : done + len(batch)] = batch.numpy()
                done += len(batch)
            save_file({'features': rows[:done]}, unfinished)
    return done


def _write_npy_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    header = dict(descr='<f4', fortran_order=False, shape=shape)
    np.lib.format.write_array_header_1_0(file, header)


def write_names(path: Path, names: Sequence[str], labels: np.ndarray) -> None:
    """Write a line per video: its name, a tab, its label or labels with tabs between.

    Args:
        path (Path): the file.
        names (Sequence[str]): of V videos.
        labels (np.ndarray): as of :func:`.from_config.names_and_labels`.
    """
    with open(path, 'w', encoding='utf-8') as file:
        for name, label in zip(names, labels, strict=True):
            if label.ndim:
                label = label.nonzero()[0]
            print(name, *np.atleast_1d(label), sep='\t', file=file)
