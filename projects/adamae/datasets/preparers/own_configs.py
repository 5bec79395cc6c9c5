"""Configs of a data set of one's own, for people to read and edit."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from projects.adamae_command import tool_name

from ...utils.fileio import AtomicLocalBackend
from .recommend import FEW_FOR_VITB, Plan
from .summary import PRETRAIN

_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_-]{0,99}')
_FLIP = '0 if left and right make a difference'


def require_name(name: str) -> None:
    """Check the name of a data set, which becomes a part of file names.

    Raises:
        ValueError: if it has anything but letters, digits, ``_`` and ``-``, or does not
            begin with a letter.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            'NAME: expected a letter and then up to 99 letters, digits, _ or -, which '
            f'file names of all systems may have, got {name!r}; choose such a name'
        )


def config_paths(name: str, folder: str | Path) -> dict[str, Path]:
    """Name the configs of a data set.

    Args:
        name (str): of the data set.
        folder (str | Path): that they are in.

    Returns:
        dict[str, Path]: for 'pretrain', 'finetune' and 'probe'.
    """
    kinds = 'pretrain', 'finetune', 'probe'
    return {kind: Path(folder) / f'{name}_{kind}.py' for kind in kinds}


def require_absent(paths: Mapping[str, Path]) -> None:
    """Check that no config is there.

    Raises:
        FileExistsError: if one is; a user may have edited it.
    """
    there = [str(path) for path in paths.values() if path.exists()]
    if there:
        raise FileExistsError(
            f'{", ".join(there)}: expected no such config, as you may have edited it; '
            'choose another NAME, remove it, or replace it with --overwrite; for the '
            'lists only, if videos were added, take '
            f'{tool_name("data/prepare.py")} --overwrite'
        )


def write_configs(
    plan: Plan,
    summary: Mapping[str, Any],
    data: str | Path,
    paths: Mapping[str, Path],
    bases: str | Path,
) -> dict[str, Path]:
    """Write configs; those that need labels only if there are some.

    Paths in them are relative to the present folder where they are below it, otherwise
    absolute; those of the bases relative to the configs where the two have their
    project in common.

    Args:
        plan (Plan): the settings.
        summary (Mapping): ``summary.json`` of the data set.
        data (str | Path): folder of that.
        paths (Mapping[str, Path]): of :func:`config_paths`.
        bases (str | Path): the folder ``configs/_base_`` of this project, or what
            MMEngine calls it in an installed package.

    Returns:
        dict[str, Path]: those that were written.
    """
    folder = _shown(data)
    labeled = summary['splits']['train']['videos']
    every = summary.get('pretrain', {}).get('videos', labeled)
    lists = {
        split: f'{folder}/{split}.txt'
        for split in ('train', 'val', 'test')
        if summary['splits'].get(split, {}).get('videos')
    }
    source = PRETRAIN if every > labeled else 'train.txt'
    parts = plan, folder, _shown(summary['videos'])
    texts = {'pretrain': _pretrain(_Shared(*parts, every), source)}
    if is_labeled(summary):
        # Without one of the two lists, the other stands for both, as is usual.
        lists.setdefault('val', lists.get('test', ''))
        lists.setdefault('test', lists['val'])
        for kind in ('finetune', 'probe'):
            shared = _Shared(*parts, labeled)
            texts[kind] = _classify(kind, shared, summary['num_classes'], lists)
    written = {}
    for kind, text in texts.items():
        path = paths[kind]
        path.parent.mkdir(parents=True, exist_ok=True)
        few = 'few_' * (kind == 'finetune' and plan.few_labeled)
        base = _base(Path(bases) / f'own_{few}{kind}.py', path)
        AtomicLocalBackend().put_text(text.replace('BASE', repr(base), 1), path)
        written[kind] = path
    return written


def is_labeled(summary: Mapping[str, Any]) -> bool:
    """Whether a classifier can be trained and tested on a data set."""
    splits = summary['splits']
    tested = any(splits.get(s, {}).get('videos') for s in ('val', 'test'))
    return summary.get('num_classes', 0) > 1 and tested


def _shown(path: str | Path) -> str:
    """Give a path from the present folder, if it is below that."""
    whole, here = os.path.abspath(path), os.getcwd()
    below = whole != here and os.path.commonpath([whole, here]) == here
    return os.path.relpath(whole) if below else whole


def _base(base: Path, config: Path) -> str:
    """Give the path of a base, from the folder of a config if both are in one tree."""
    if '::' in str(base):
        return base.as_posix()
    base, folder = base.resolve(), config.parent.resolve()
    project = base.parents[2]
    if folder.is_relative_to(project):
        return os.path.relpath(base, folder)
    return str(base)


class _Shared:
    """Parts that the configs have in common."""

    def __init__(self, plan: Plan, folder: str, root: str, videos: int) -> None:
        self.plan, self.folder, self.root, self.videos = plan, folder, root, videos
        self.backbone = ', '.join(f'{k}={v}' for k, v in plan.backbone.items())
        (self.clip,) = (r.note for r in plan.reasons if r.setting == 'stride')
        if plan.frame_interval is not None:
            self.sample = f'dict(_base_.sample, frame_interval={plan.frame_interval})'
        else:
            self.sample = (
                f"dict(type='SampleFramesByTime', clip_len={plan.num_frames}, "
                f'frames_per_second={plan.frames_per_second:g})'
            )
        self.flip = f'dict(_base_.flip, flip_ratio={plan.flip_ratio:g})  # {_FLIP}'
        limit = 'fewer than' if plan.size == 'vits' else 'at least'
        name = {'vits': 'ViT-S', 'vitb': 'ViT-B'}[plan.size]
        self.model = f'{name}: {limit} {FEW_FOR_VITB:,} videos'

    def batch(self, size: int) -> str:
        """Give the line of a batch size."""
        steps = self.videos // size
        return f'batch_size={size},  # per GPU; on one, {steps:,} steps an epoch'

    def epochs(self, count: int, size: int) -> str:
        """Give the line of a number of epochs."""
        steps = count * (self.videos // size)
        return f'train_cfg = dict(max_epochs={count})  # {steps:,} steps\n'


def _pretrain(shared: _Shared, source: str) -> str:
    plan = shared.plan
    parts = [f'backbone=dict({shared.backbone})'] if shared.backbone else []
    if plan.mask_ratio != 0.95:
        parts.append(f'sampler=dict(mask_ratio={plan.mask_ratio:g})')
    model = f'# {shared.model}\n'
    if parts:
        model += f'model = dict({", ".join(parts)})\n'
    repeat = ''
    if plan.repeats > 1:
        repeat = (
            f"views = [dict(type='PerClip', repeats={plan.repeats}, transforms=views)]"
            '  # crops of a clip\n'
        )
    return (
        f'# Pre-trains on the {shared.videos:,} videos of {shared.folder}/{source}, '
        'without labels.\n'
        '_base_ = BASE\n\n'
        f'{model}'
        f'# {shared.clip}\n'
        f'clip = {shared.sample}\n'
        f'flip = {shared.flip}\n'
        'views = [_base_.multi_scale_crop, _base_.resize, flip]\n'
        f'{repeat}'
        'train_dataloader = dict(\n'
        f'    {shared.batch(plan.batch_size)}\n'
        '    dataset=dict(\n'
        f'        ann_file={f"{shared.folder}/{source}"!r},\n'
        f'        data_prefix=dict(video={shared.root!r}),\n'
        '        pipeline=[_base_.init, clip, _base_.decode, *views, *_base_.pack],\n'
        '    ),\n'
        ')\n'
        f'{shared.epochs(plan.epochs, plan.batch_size)}'
        'warmup, cosine = _base_.param_scheduler\n'
        f'warmup.end = cosine.begin = {plan.warmup_epochs}  # epochs\n'
        'param_scheduler = [warmup, cosine]\n'
        'default_hooks = dict('
        f'checkpoint=dict(interval={plan.checkpoint_interval}))  # epochs\n'
    )


def _classify(
    kind: str, shared: _Shared, num_classes: int, lists: Mapping[str, str]
) -> str:
    plan = shared.plan
    width = plan.backbone.get('embed_dims')
    head = 'num_classes=num_classes' + (f', in_channels={width}' if width else '')
    backbone = f'    backbone=dict({shared.backbone}),\n' if shared.backbone else ''
    steps = 'augment'
    if kind == 'finetune':
        what, batch, last = 'Fine-tunes', plan.finetune_batch_size, 'erase_and_pack'
        end = shared.epochs(plan.finetune_epochs, batch)
        if plan.few_labeled:
            end += (
                f'auto_scale_lr = dict(base_batch_size={batch})  '
                '# clips of a step on one GPU, for the rate of the base\n'
            )
        elif not plan.keep_best:
            end += (
                'default_hooks = dict(checkpoint=dict(save_best=None))  '
                '# no list to choose by\n'
            )
        if plan.large_frames and not plan.few_labeled:
            steps = 'shrink_and_augment'
    else:
        what, batch, last = 'Trains a linear classifier', plan.probe_batch_size, 'pack'
        end = ''
    text = (
        f'# {what} on the {shared.videos:,} training videos of {shared.folder}.\n'
        '_base_ = BASE\n\n'
        f'num_classes = {num_classes}  # in {shared.folder}/classes.txt\n'
        'model = dict(  # as in pre-training, and so are the clips\n'
        f'{backbone}'
        f'    cls_head=dict({head}),\n'
        ')\n'
        f'clip = {shared.sample}\n'
        f'flip = {shared.flip}\n'
        f'train = [_base_.init, clip, *_base_.{steps}, flip, *_base_.{last}]\n'
        'val = [_base_.init, dict(clip, test_mode=True), *_base_.center_view]\n'
        'test = [_base_.init, dict(clip, num_clips=5, test_mode=True), '
        '*_base_.three_views]\n'
        f'videos = dict(video={shared.root!r})\n'
        f'names = dict(classes={shared.folder + "/classes.txt"!r})\n'
        'data = dict(data_prefix=videos, metainfo=names)\n'
        'train_dataloader = dict(\n'
        f'    {shared.batch(batch)}\n'
        f'    dataset=dict(ann_file={lists["train"]!r}, pipeline=train, **data),\n'
        ')\n'
    )
    for split in ('val', 'test'):
        dataset = f'dict(ann_file={lists[split]!r}, pipeline={split}, **data)'
        text += f'{split}_dataloader = dict(dataset={dataset})\n'
    return text + end
