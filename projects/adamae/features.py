"""What an encoder makes of videos: one vector each, or the whole token grid."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmaction.models.recognizers.base import BaseRecognizer
from mmaction.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import (
    BaseDataset,
    ConcatDataset,
    DefaultSampler,
    pseudo_collate,
)
from mmengine.dist import all_gather, all_gather_object
from mmengine.registry import init_default_scope
from safetensors.numpy import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .backbone import MaskedVisionTransformer
from .checkpoints import fit_checkpoint
from .checkpoints.files import read_checkpoint

SPLITS = ('train', 'val', 'test')


def load_model(cfg: Config, checkpoint: str) -> BaseRecognizer:
    """Build the model of a config and load all of its weights.

    Args:
        cfg (Config): of pre-training (``MAERecognizer``) or of a classifier
            (``Recognizer3D``).
        checkpoint (str): file of that config's training.

    Returns:
        BaseRecognizer: in evaluation mode, on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the checkpoint is not one of this model, or its backbone is no
            ``MaskedVisionTransformer``.
    """
    init_default_scope(cfg.get('default_scope', 'mmaction'))
    model = MODELS.build(cfg.model)
    if not isinstance(model.backbone, MaskedVisionTransformer):
        raise ValueError(
            'model.backbone: expected a MaskedVisionTransformer, got '
            f"{type(model.backbone).__name__}; checkpoints of MMAction2's "
            'VisionTransformer load into it as they are, change the type'
        )
    source = read_checkpoint(checkpoint)
    content = dict(state_dict=dict(source.weights))
    fit_checkpoint(content, model, 'test', checkpoint, source.said)
    model.load_state_dict(content['state_dict'])
    return model.eval()


def take_data_of(cfg: Config, other: Config) -> None:
    """Replace the data of a config by those of another one, in place.

    Args:
        cfg (Config): with a model.
        other (Config): with data sets.
    """
    for key in (f'{split}_dataloader' for split in SPLITS):
        cfg[key] = other.get(key)


def reading_split(cfg: Config) -> str:
    """Name the split that says how videos are read: val, else test, else train.

    Pipelines of validation draw nothing at random, and there is usually one clip a
    video in them. In place of the one of training, :func:`middle_clip` is taken.

    Args:
        cfg (Config): with data sets.

    Returns:
        str: ``'val'``, ``'test'`` or ``'train'``.

    Raises:
        ValueError: if the config has no data sets.
    """
    for split in ('val', 'test', 'train'):
        if cfg.get(f'{split}_dataloader'):
            return split
    raise ValueError('the config has no data sets: take those of another with --data')


def loading(cfg: Config) -> dict[str, int]:
    """Give batch size and number of workers of :func:`reading_split`.

    Args:
        cfg (Config): with data sets.

    Returns:
        dict[str, int]: ``batch_size`` and ``num_workers``.
    """
    loader = cfg[f'{reading_split(cfg)}_dataloader']
    return dict(
        batch_size=loader.get('batch_size', 1), num_workers=loader.get('num_workers', 0)
    )


def middle_clip(
    backbone: MaskedVisionTransformer, frame_interval: int = 1
) -> list[dict]:
    """Make a pipeline that takes the middle of a video and of its frames.

    Args:
        backbone (MaskedVisionTransformer): decides size and length.
        frame_interval (int): frames from one frame of the clip to the next. Defaults
            to 1.

    Returns:
        list[dict]: transforms, for videos of any size.
    """
    clip_len, size, _ = backbone.clip_size
    return [
        dict(type='DecordInit'),
        dict(
            type='SampleFrames',
            clip_len=clip_len,
            frame_interval=frame_interval,
            test_mode=True,
        ),
        dict(type='DecordDecode'),
        dict(type='Resize', scale=(-1, size)),
        dict(type='CenterCrop', crop_size=size),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs'),
    ]


def build_dataset(
    cfg: Config, split: str, backbone: MaskedVisionTransformer
) -> BaseDataset | ConcatDataset:
    """Build a data set of a config, to be read once and without chance.

    It is read as :func:`reading_split` says; data sets that only repeat another one
    are left out, those that join several are kept. A video that cannot be read is an
    error, as in testing.

    Args:
        cfg (Config): with data sets.
        split (str): ``'train'``, ``'val'`` or ``'test'``.
        backbone (MaskedVisionTransformer): what the clips are for.

    Returns:
        BaseDataset | ConcatDataset: the videos in the order of their annotation file.

    Raises:
        ValueError: if the config has no such split, or several pipelines to read it.
    """
    if not cfg.get(f'{split}_dataloader'):
        has = [s for s in SPLITS if cfg.get(f'{s}_dataloader')]
        raise ValueError(
            f'the config has no {split}_dataloader, only {", ".join(has) or "none"}; '
            'choose another --split, or take the data of another config with --data'
        )
    source = reading_split(cfg)
    pipelines = [
        part['pipeline'] for part in _innermost(cfg[f'{source}_dataloader'].dataset)
    ]
    if any(pipeline != pipelines[0] for pipeline in pipelines):
        raise ValueError(
            f'{source}_dataloader.dataset: expected one pipeline for all data sets in '
            'it, as features of a split are read with one, got several'
        )
    pipeline = pipelines[0]
    if source == 'train':
        pipeline = middle_clip(backbone, frame_interval(pipeline))
    parts = [
        _build_once(part, pipeline)
        for part in _innermost(cfg[f'{split}_dataloader'].dataset)
    ]
    return parts[0] if len(parts) == 1 else ConcatDataset(parts)


def _build_once(dataset: Any, pipeline: Sequence[dict]) -> BaseDataset:
    dataset = dict(dataset)
    # Repeated augmentation gives a list of clips instead of one.
    if dataset.pop('num_repeats', None):
        dataset.pop('sample_once', None)
        dataset['type'] = 'VideoDataset'
    return DATASETS.build({**dataset, 'pipeline': pipeline, 'test_mode': True})


def frame_interval(pipeline: Sequence[dict]) -> int:
    """Find the stride at which a pipeline samples frames.

    Args:
        pipeline (Sequence[dict]): transforms, as in a config.

    Returns:
        int: frames from one frame of a clip to the next; 1 if it does not say.
    """
    return next((s['frame_interval'] for s in pipeline if 'frame_interval' in s), 1)


def train_frame_interval(cfg: Config) -> int:
    """Find the stride at which a config trains, see :func:`frame_interval`."""
    return frame_interval(_innermost(cfg.train_dataloader.dataset)[0]['pipeline'])


def _innermost(dataset: Any) -> list[Any]:
    """List the data sets under wrappers."""
    if 'dataset' in dataset:
        return _innermost(dataset['dataset'])
    if 'datasets' in dataset:
        return [inner for part in dataset['datasets'] for inner in _innermost(part)]
    return [dataset]


def names_and_labels(
    dataset: BaseDataset | ConcatDataset,
) -> tuple[list[str], np.ndarray]:
    """List the videos of a data set.

    Args:
        dataset (BaseDataset): of MMAction2.

    Returns:
        tuple[list[str], np.ndarray]: names of files or folders; labels, int64, (V,),
        or (V, classes) with 0 and 1 where a video has several. -1: not labelled.
    """
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    labels = [np.asarray(info.get('label', -1)) for info in infos]
    return [_name(info) for info in infos], np.stack(labels).astype(np.int64)


def _name(info: dict) -> str:
    return info.get('filename') or info.get('frame_dir') or '?'


class _Readable(Dataset):
    """Hand errors over as values: as such they leave a worker in one line."""

    def __init__(self, dataset: BaseDataset | ConcatDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.dataset[index]
        except Exception as error:  # decord raises a class of its own
            name = _name(self.dataset.get_data_info(index))
            text = ' '.join(str(error).split())[:200]
            return ValueError(
                f'{name}: cannot be read ({type(error).__name__}: {text})'
            )


@torch.no_grad()
def encode(
    model: BaseRecognizer, clips: Tensor, tokens: bool = False, views: int = 1
) -> Tensor:
    """Encode clips without masking any token.

    The vector of a clip is the mean over its tokens as the encoder gives them; an
    encoder that was fine-tuned normalises after that mean, as its classifier sees it.

    Args:
        model (BaseRecognizer): in evaluation mode.
        clips (Tensor): normalised, shape (B * views, C, T, H, W), float.
        tokens (bool): give the token grid instead. Defaults to False.
        views (int): clips a video, next to each other. Their vectors are averaged.
            Defaults to 1.

    Returns:
        Tensor: shape (B, D), or (B, t, h, w, D) for tokens; float32.

    Raises:
        ValueError: if tokens of several clips a video are asked for.
    """
    backbone = model.backbone
    if tokens and views > 1:
        raise ValueError(
            f'expected one clip a video for a token grid, got {views}; choose a '
            'pipeline with num_clips=1 and one crop'
        )
    x = backbone.encode(backbone.embed(clips)).float()
    if tokens:
        return x.unflatten(1, backbone.token_grid)
    return backbone.pool(x).unflatten(0, (-1, views)).mean(1)


def iterate(
    model: BaseRecognizer,
    dataset: BaseDataset | ConcatDataset,
    batch_size: int,
    num_workers: int = 0,
    tokens: bool = False,
) -> Iterator[Tensor]:
    """Encode a data set, batch by batch.

    In a distributed run each process gets every n-th video, and the last ones begin
    again with the first so that all processes get as many.

    Args:
        model (BaseRecognizer): in evaluation mode.
        dataset (BaseDataset): with ``PackActionInputs`` at the end of its pipeline.
        batch_size (int): videos a batch.
        num_workers (int): processes that read videos. Defaults to 0.
        tokens (bool): see :func:`encode`. Defaults to False.

    Yields:
        Tensor: features of a batch, on the CPU, in the order of the data set.

    Raises:
        ValueError: if a video cannot be read; names it.
    """
    loader = DataLoader(
        _Readable(dataset),
        batch_size,
        # Without a seed of its own it would draw one, at the cost of the global state.
        sampler=DefaultSampler(dataset, shuffle=False, seed=0),
        num_workers=num_workers,
        collate_fn=list,
        generator=torch.Generator(),
    )
    for videos in loader:
        for error in (v for v in videos if isinstance(v, Exception)):
            raise error
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
        batch_size (int): videos a batch.
        num_workers (int): processes that read videos. Defaults to 0.

    Returns:
        Tensor: shape (V, D), float32, on the CPU, in the order of the data set.

    Raises:
        ValueError: on every process, if one of them cannot read a video; names it.
    """
    share, problem = torch.empty(0), None
    try:
        share = torch.cat([*iterate(model, dataset, batch_size, num_workers)])
    except ValueError as error:
        problem = str(error)
    # Otherwise the other processes would wait for this one.
    for told in all_gather_object(problem):
        if told:
            raise ValueError(told)
    return torch.stack(all_gather(share), dim=1).flatten(0, 1)[: len(dataset)]


def write(path: Path, batches: Iterable[Tensor], shape: tuple[int, ...]) -> None:
    """Write features to a file, which appears when it is complete.

    Args:
        path (Path): ends in ``.npy``, written as they come, or in ``.safetensors``
            (under the name ``features``), for which they must fit into memory.
        batches (Iterable[Tensor]): shape (B, ...), float32, on the CPU.
        shape (tuple[int, ...]): of all of them together, (V, ...).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f'.{path.name}.{os.getpid()}')
    if path.suffix == '.npy':
        # Token grids of a large data set do not fit into memory.
        rows = np.lib.format.open_memmap(unfinished, 'w+', np.float32, shape)
    else:
        rows = np.empty(shape, np.float32)
    try:
        done = 0
        for batch in batches:
            rows[done : done + len(batch)] = batch.numpy()
            done += len(batch)
        if path.suffix == '.npy':
            rows.flush()
        else:
            save_file({'features': rows}, unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_names(path: Path, names: Sequence[str], labels: np.ndarray) -> None:
    """Write a line a video: its name, a tab, its label or labels with tabs between.

    Args:
        path (Path): the file.
        names (Sequence[str]): of V videos.
        labels (np.ndarray): as of :func:`names_and_labels`.
    """
    with open(path, 'w', encoding='utf-8') as file:
        for name, label in zip(names, labels, strict=True):
            if label.ndim:
                label = label.nonzero()[0]
            print(name, *np.atleast_1d(label), sep='\t', file=file)


@contextmanager
def set_aside(model: BaseRecognizer) -> Iterator[None]:
    """Take a model out of its training for a while.

    Inside, it is in evaluation mode. Afterwards, the mode of every module and the
    state of all random number generators are as before.

    Args:
        model (BaseRecognizer): being trained.
    """
    modes = [(module, module.training) for module in model.modules()]
    states = random.getstate(), np.random.get_state()
    device = next(model.parameters()).device
    with torch.random.fork_rng([device] if device.type == 'cuda' else []):
        try:
            yield model.eval()
        finally:
            for module, mode in modes:
                module.training = mode
            random.setstate(states[0])
            np.random.set_state(states[1])
