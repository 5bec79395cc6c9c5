"""The datasets of a config: found under wrappers, counted, built for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
from mmaction.datasets import RepeatAugDataset
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import BaseDataset, ConcatDataset

from .checked_decord import check_decord

SPLITS = ('train', 'val', 'test')


def iter_datasets(dataset: Any, key: str = 'dataset') -> Iterator[tuple[str, Any]]:
    """Walk through the datasets under wrappers.

    Args:
        dataset (dict): config of a dataset, or of a wrapper around others.
        key (str): where it stands in the whole config. Defaults to ``'dataset'``.

    Yields:
        tuple[str, dict]: key and config of every dataset that wraps no other.
    """
    if 'dataset' in dataset:
        yield from iter_datasets(dataset['dataset'], f'{key}.dataset')
    elif 'datasets' in dataset:
        for index, part in enumerate(dataset['datasets']):
            yield from iter_datasets(part, f'{key}.datasets.{index}')
    else:
        yield key, dataset


def iter_split_datasets(
    cfg: Config, splits: Sequence[str] = SPLITS
) -> Iterator[tuple[str, Any]]:
    """Walk through the datasets of splits.

    Args:
        cfg (Config): of a run.
        splits (Sequence[str]): some of 'train', 'val' and 'test'; one without a
            dataloader is skipped. Defaults to all.

    Yields:
        tuple[str, dict]: as :func:`iter_datasets`, the key from the whole config on.
    """
    for split in splits:
        if loader := cfg.get(f'{split}_dataloader'):
            yield from iter_datasets(loader['dataset'], f'{split}_dataloader.dataset')


def iter_built(dataset: Any) -> Iterator[Any]:
    """Walk through datasets that are built, as :func:`iter_datasets` through configs.

    Args:
        dataset (Dataset): a dataset, or a wrapper of MMEngine around others.

    Yields:
        Dataset: every dataset that wraps no other.
    """
    parts = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for part in parts:
        if part is None:
            yield dataset
        else:
            yield from iter_built(part)


def innermost(dataset: Any) -> Any:
    """Find the dataset with a pipeline under wrappers; of joined ones, the first.

    Args:
        dataset (dict): config of a dataset.

    Returns:
        dict: the part of it that has a ``pipeline``.

    Raises:
        ValueError: if there is none.
    """
    for _, part in iter_datasets(dataset):
        if 'pipeline' in part:
            return part
    raise ValueError(
        f'{dataset.get("type")}: expected a dataset with a pipeline, got none'
    )


def clips_per_video(dataset: Any) -> int:
    """Count the clips that one video of a batch becomes.

    Args:
        dataset (dict): config of a dataset.

    Returns:
        int: repeats of a ``RepeatAugDataset`` (``num_repeats``) times clips of the
        sampling transform (``num_clips``) times repeats of ``PerClip``.

    Raises:
        ValueError: if there is no pipeline.
    """
    dataset = innermost(dataset)
    # 4 is MMAction2's default.
    repeats = dataset.get('num_repeats', 4) if repeats_decode(dataset) else 1
    return repeats * prod(
        transform.get('num_clips', 1)
        * (transform.get('repeats', 1) if transform['type'] == 'PerClip' else 1)
        for transform in dataset['pipeline']
    )


def repeats_decode(dataset: Any) -> bool:
    """Say whether a dataset gives a list of clips per video (repeated augmentation).

    Args:
        dataset (dict): config of a dataset.

    Returns:
        bool: whether its class is MMAction2's ``RepeatAugDataset`` or a subclass.
    """
    kind = dataset.get('type')
    if isinstance(kind, str):
        kind = DATASETS.get(kind)
    return isinstance(kind, type) and issubclass(kind, RepeatAugDataset)


def use_data_from(cfg: Config, other: Config) -> None:
    """Replace the dataloaders of a config by those of another one, in place."""
    for key in (f'{split}_dataloader' for split in SPLITS):
        cfg[key] = other.get(key)


def eval_split(cfg: Config) -> str:
    """Name the split that says how videos are read: val, else test, else train.

    Pipelines of validation draw nothing at random and usually take one clip per video.
    The training pipeline is replaced by :func:`center_clip_pipeline`.

    Args:
        cfg (Config): with datasets.

    Returns:
        str: ``'val'``, ``'test'`` or ``'train'``.

    Raises:
        ValueError: if the config has no datasets.
    """
    for split in ('val', 'test', 'train'):
        if cfg.get(f'{split}_dataloader'):
            return split
    raise ValueError('the config has no datasets: take those of another with --data')


def loader_kwargs(cfg: Config) -> dict[str, int]:
    """Give ``batch_size`` and ``num_workers`` of :func:`eval_split`."""
    loader = cfg[f'{eval_split(cfg)}_dataloader']
    return dict(
        batch_size=loader.get('batch_size', 1), num_workers=loader.get('num_workers', 0)
    )


def center_clip_pipeline(
    clip_size: tuple[int, int, int],
    frame_interval: int = 1,
    frames_per_second: float | None = None,
) -> list[dict]:
    """Make a pipeline that takes the center of a video and of its frames.

    Args:
        clip_size (tuple[int, int, int]): frames, height and width of a clip.
        frame_interval (int): frames from one frame of the clip to the next. Defaults
            to 1.
        frames_per_second (float, optional): of the clip, instead of an interval.

    Returns:
        list[dict]: transforms, for videos of any size.
    """
    clip_len, height, width = clip_size
    sample = dict(
        type='SampleFrames',
        frame_interval=frame_interval,
        out_of_bound_opt='repeat_last',
    )
    if frames_per_second:
        sample = dict(type='SampleFramesByTime', frames_per_second=frames_per_second)
    return [
        dict(type='PyAVSkipInit'),
        dict(sample, clip_len=clip_len, test_mode=True),
        dict(type='PyAVSkipDecode'),
        dict(type='ResizeToCover', scale=(width, height)),
        dict(type='CenterCrop', crop_size=(width, height)),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs'),
    ]


def with_meta_keys(pipeline: Sequence[dict], *keys: str) -> list[dict]:
    """Let a pipeline pack more of what it knows.

    Args:
        pipeline (Sequence[dict]): transforms, with ``PackActionInputs``.
        *keys (str): such as ``'frame_inds'``, the numbers of the frames of a clip.

    Returns:
        list[dict]: transforms.
    """
    return [
        {**step, 'meta_keys': (*step.get('meta_keys', ()), *keys)}
        if step['type'] == 'PackActionInputs'
        else step
        for step in pipeline
    ]


def build_dataset(
    cfg: Config, split: str, clip_size: tuple[int, int, int]
) -> BaseDataset | ConcatDataset:
    """Build a dataset of a config that gives every video once, nothing at random.

    It is read as :func:`eval_split` says; wrappers that only repeat another dataset
    are skipped, those that join several are kept. A video that cannot be read is an
    error, as in testing.

    Args:
        cfg (Config): with datasets.
        split (str): ``'train'``, ``'val'`` or ``'test'``.
        clip_size (tuple[int, int, int]): frames, height and width of the clips that
            the encoder takes.

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
    source = eval_split(cfg)
    pipelines = [
        part['pipeline']
        for _, part in iter_datasets(cfg[f'{source}_dataloader'].dataset)
    ]
    if any(pipeline != pipelines[0] for pipeline in pipelines):
        raise ValueError(
            f'{source}_dataloader.dataset: expected one pipeline for all datasets in '
            'it, as features of a split are read with one, got several'
        )
    pipeline = pipelines[0]
    if source == 'train':
        pipeline = center_clip_pipeline(clip_size, **spacing(pipeline))
    parts = [
        _build_once(part, pipeline)
        for _, part in iter_datasets(cfg[f'{split}_dataloader'].dataset)
    ]
    return parts[0] if len(parts) == 1 else ConcatDataset(parts)


def _build_once(dataset: Any, pipeline: Sequence[dict]) -> BaseDataset:
    dataset = dict(dataset)
    if repeats_decode(dataset):
        for key in ('num_repeats', 'sample_once'):
            dataset.pop(key, None)
        dataset['type'] = 'TolerantVideoDataset'
    built = DATASETS.build({**dataset, 'pipeline': pipeline, 'test_mode': True})
    # Also of datasets that are not ours: features of other frames tell nothing.
    built.pipeline.transforms = check_decord(built.pipeline.transforms)
    return built


def spacing(pipeline: Sequence[dict]) -> dict[str, Any]:
    """Find how far apart a pipeline samples: every frame if it does not say.

    Args:
        pipeline (Sequence[dict]): transforms.

    Returns:
        dict: ``frame_interval`` or ``frames_per_second``.
    """
    for step in pipeline:
        for key in ('frame_interval', 'frames_per_second'):
            if key in step:
                return {key: step[key]}
    return dict(frame_interval=1)


def clip_spacing(cfg: Config) -> dict[str, Any]:
    """Find how far apart a config samples, see :func:`spacing`.

    Args:
        cfg (Config): with datasets; that of the training counts, if there is one.
    """
    split = 'train' if cfg.get('train_dataloader') else eval_split(cfg)
    return spacing(innermost(cfg[f'{split}_dataloader'].dataset)['pipeline'])


def names_and_labels(
    dataset: BaseDataset | ConcatDataset,
) -> tuple[list[str], np.ndarray]:
    """List the videos of a dataset.

    Args:
        dataset (BaseDataset): of MMAction2.

    Returns:
        tuple[list[str], np.ndarray]: names of files or folders; labels, int64, (V,),
        or (V, classes) with 0 and 1 where a video has several. -1: not labeled.
    """
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    labels = [np.asarray(info.get('label', -1)) for info in infos]
    return [video_name(info) for info in infos], np.stack(labels).astype(np.int64)


def video_name(info: dict) -> str:
    """Give the file or folder of a video from its entry in a dataset."""
    return info.get('filename') or info.get('frame_dir') or '?'
