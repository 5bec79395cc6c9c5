"""The data that a config names, compared with the disk."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mmaction.registry import DATASETS
from mmengine.config import Config

from projects.adamae_command import docs_page

from ..datasets.from_config import iter_split_datasets
from ..datasets.unreadable import ALLOW_MORE, max_unreadable
from ..utils.text import printable, some
from ..video.folder import VIDEO_SUFFIXES
from .annotation_files import (
    Layout,
    annotation_file,
    check_below_prefix,
    check_lines,
    join_root,
    layout_of,
)
from .distributed import rank_and_local_rank, warn
from .paths import is_remote
from .safeguards import registered_class

# A slow file system answers several questions at a time.
_NUM_THREADS = 16


def check_data(
    cfg: Config,
    splits: Sequence[str],
    tolerant: type | tuple[()] = (),
    max_share: float | None = None,
) -> None:
    """Look for the files of the datasets before anything is built.

    Every video, or folder of frames, of every annotation file is looked for, by one
    process of each machine. Remote paths are not looked at. Folders and annotation
    files are joined with ``data_root`` as MMEngine's ``BaseDataset`` does it.

    Args:
        cfg (Config): the config of the run.
        splits (Sequence[str]): of 'train', 'val' and 'test', those that the run
            reads; one without a dataloader is skipped.
        tolerant (type): of datasets that go on without some of their videos; missing
            ones are warned of, unless all are missing, or more than are allowed of the
            training videos. Defaults to none: they are an error.
        max_share (float, optional): see :func:`.max_unreadable`. Defaults to None.

    Raises:
        FileNotFoundError: if an annotation file, a folder, or videos of an annotation
            file do not exist. Of several videos, each is named in a warning.
        ValueError: if an annotation file lists nothing, a line that its dataset
            cannot read, or a path outside of the dataset's ``data_prefix`` that is not
            allowed.
    """
    total = 0  # of the training videos
    missing: list[str] = []
    for key, dataset in iter_split_datasets(cfg, splits):
        if is_remote(dataset.get('data_root') or ''):
            continue
        folders = {
            f'data_prefix.{name}': join_root(dataset, prefix)
            for name, prefix in (dataset.get('data_prefix') or {}).items()
        }
        annotation = annotation_file(dataset)
        if annotation:
            _require(key, 'ann_file', 'annotation file', annotation, os.path.isfile)
        else:
            folders['data_root'] = dataset.get('data_root') or ''
        layout = layout_of(dataset)
        if layout:
            _check_prefix(key, dataset, layout)
        for name, folder in folders.items():
            if folder:
                _require(key, name, 'folder', folder, os.path.isdir)
        if annotation and not is_remote(annotation):
            lines = check_lines(key, dataset, annotation)
            if layout:
                prefix = folders.get(f'data_prefix.{layout.prefix}', '')
                check_below_prefix(key, dataset, annotation, prefix, layout, lines)
            # Processes of one machine would all find the same.
            if layout and lines and rank_and_local_rank()[1] == 0:
                kind = registered_class(DATASETS, dataset['type'])
                where = f'data_prefix.{layout.prefix}'
                lost = _check_videos(
                    f'{key}.{where}',
                    annotation,
                    folders.get(where, ''),
                    layout,
                    lines,
                    issubclass(kind, tolerant),
                )
                if key.startswith('train_'):
                    total, missing = total + len(lines), missing + lost
    limit = max_unreadable(total, max_share)
    if len(missing) > limit:
        raise FileNotFoundError(
            f'train_dataloader.dataset: {len(missing)} of {total} videos not found, '
            f'more than the {limit} allowed: {some(missing)}; restore them or take '
            f'them out of the list, or {ALLOW_MORE}; see '
            + docs_page('data', 'Unreadable videos')
        )


def _check_prefix(key: str, dataset: Any, layout: Layout) -> None:
    """Reject settings for videos in a dataset of frames, and the other way round."""
    prefix = dataset.get('data_prefix')
    if prefix is not None and layout.prefix not in prefix:
        raise ValueError(
            f'{key}.data_prefix: expected dict({layout.prefix}=FOLDER), as '
            f'{_name(dataset["type"])} needs it, got {", ".join(prefix) or "none"}; '
            f'set {key}.data_prefix.{layout.prefix}'
        )
    steps = [_name(step['type']) for step in dataset.get('pipeline') or []]
    frames = 'RawFrameDecode' in steps
    if steps and frames != (layout.prefix == 'img'):
        want = (
            'SampleFrames and RawFrameDecode, without DecordInit or the like'
            if layout.prefix == 'img'
            else 'a loader of videos, such as DecordInit and DecordDecode'
        )
        raise ValueError(
            f'{key}.pipeline: expected {want}, as {_name(dataset["type"])} lists '
            f'{"frames" if layout.prefix == "img" else "videos"}, got '
            f'{", ".join(steps[:3])}'
        )


def _name(kind: Any) -> str:
    return kind if isinstance(kind, str) else kind.__name__


def _check_videos(
    key: str,
    annotation: str,
    prefix: str,
    layout: Layout,
    lines: Sequence[str],
    tolerant: bool,
) -> list[str]:
    """Look for all that an annotation file names; give what is not there."""
    if is_remote(prefix):
        return []
    paths = [os.path.join(prefix, layout.split(line)[0]) for line in lines]
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        size = -(-len(paths) // _NUM_THREADS)
        parts = [paths[i : i + size] for i in range(0, len(paths), size)]
        found = pool.map(lambda part: [layout.exists(path) for path in part], parts)
        missing = [i for i, there in enumerate(sum(found, [])) if not there]
    if not missing:
        return []
    first = paths[missing[0]]
    what = 'videos' if layout.prefix == 'video' else 'folders of frames'
    count = (
        f'{key}: {len(missing)} of {len(lines)} {what} of {annotation} not found, the '
        f'first in line {missing[0] + 1}: {printable(os.path.abspath(first))}'
    )
    if tolerant and len(missing) < len(lines):
        warn(f'{count}; see {docs_page("data", "Unreadable videos")}')
        return [paths[i] for i in missing]
    if len(missing) < len(lines):
        for i in missing:
            path = printable(os.path.abspath(paths[i]))
            warn(f'not found: line {i + 1} of {annotation}: {path}')
    endings = [s for s in VIDEO_SUFFIXES if os.path.isfile(first + s)]
    hint = (
        f'names need their ending, such as {printable(os.path.basename(first))}'
        f'{endings[0]}'
        if endings
        else f'create or remove them, or name another folder with --cfg-options '
        f'{key}=PATH'
    )
    raise FileNotFoundError(f'{count}; {hint}')


def _require(
    key: str, name: str, what: str, path: str, exists: Callable[[str], bool]
) -> None:
    if not is_remote(path) and not exists(path):
        raise FileNotFoundError(
            f'{key}.{name}: {what} not found: {os.path.abspath(path)}; create it, '
            f'or name another with --cfg-options {key}.{name}=PATH'
        )
