"""The data that a config names, compared with the disk."""

import codecs
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.registry import DATASETS
from mmengine.config import Config
from mmengine.fileio import join_path, list_from_file
from mmengine.utils import is_abs

from ..datasets import LabeledVideoFolderDataset, VideoFolderDataset
from ..datasets.annotation_lines import TabSeparatedVideos, split_line
from ..datasets.class_names import class_names, difference
from ..datasets.from_config import iter_datasets
from ..datasets.labeled_video_folder_dataset import scan_classes
from ..datasets.names_below_prefix import leaves, outside_message
from ..datasets.preparers.official import recognize
from ..datasets.unreadable import ALLOW_MORE, max_unreadable
from ..utils.text import printable
from ..video.folder import VIDEO_SUFFIXES
from .distributed import rank_and_local_rank, warn
from .paths import is_remote
from .safeguards import registered_class

# A slow file system answers several questions at a time.
_NUM_THREADS = 16
# What is read by ``tools/data/prepare.py`` and is no JSON or CSV of a publication.
_FORMS = {
    'folder': 'CSV with a header',
    'segments': 'a table of segments',
    'ucf101': 'a list of UCF101, whose labels begin at 1',
}


class _Layout(NamedTuple):
    """How a dataset of MMAction2 reads the lines of its annotation file.

    Attributes:
        prefix (str): entry of ``data_prefix`` that the names are below.
        delimiter (str, optional): between columns; None is any white space.
        columns (tuple[str, ...]): before the labels.
        exists (Callable): tells whether what a line names is there.
        tabs (bool): whether a name may hold blanks if a tab follows it.
    """

    prefix: str
    delimiter: str | None
    columns: tuple[str, ...]
    exists: Callable[[str], bool]
    tabs: bool = False

    @property
    def form(self) -> str:
        """What a line looks like."""
        return (self.delimiter or ' ').join((*self.columns, 'LABEL'))

    def split(self, line: str) -> list[str]:
        """Split a line into its columns."""
        if self.tabs:
            return split_line(line, self.delimiter)
        return line.strip().split(self.delimiter)


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
    for key, dataset in _iter_datasets(cfg, splits):
        if is_remote(dataset.get('data_root') or ''):
            continue
        folders = {
            f'data_prefix.{name}': _join_root(dataset, prefix)
            for name, prefix in (dataset.get('data_prefix') or {}).items()
        }
        annotation = _annotation_file(dataset)
        if annotation:
            _require(key, 'ann_file', 'annotation file', annotation, os.path.isfile)
        else:
            folders['data_root'] = dataset.get('data_root') or ''
        layout = _layout(dataset)
        if layout:
            _check_prefix(key, dataset, layout)
        for name, folder in folders.items():
            if folder:
                _require(key, name, 'folder', folder, os.path.isdir)
        if annotation and not is_remote(annotation):
            lines = _check_annotation(key, dataset, annotation)
            if layout:
                prefix = folders.get(f'data_prefix.{layout.prefix}', '')
                _check_names(key, dataset, annotation, prefix, layout, lines)
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
        names = ', '.join(missing[:3]) + ', ...' * (len(missing) > 3)
        raise FileNotFoundError(
            f'train_dataloader.dataset: {len(missing)} of {total} videos not found, '
            f'more than the {limit} allowed: {names}; restore them or take them out of '
            f'the list, or {ALLOW_MORE}; see docs/data.md, "Unreadable videos"'
        )


def check_classes(cfg: Config, splits: Sequence[str]) -> None:
    """Compare the labels of a classifier with its head.

    Args:
        cfg (Config): the config of the run; not looked at if its model has no
            ``cls_head.num_classes``.
        splits (Sequence[str]): as in :func:`check_data`, which comes first. Only
            annotation files of ``VideoDataset`` and ``RawframeDataset`` are read, and
            the folders of ``LabeledVideoFolderDataset``.

    Raises:
        FileNotFoundError: if such a folder holds no video, or there is no file of the
            classes' names.
        ValueError: if a label is not one of the classes, a dataset has none, or the
            classes are not as many, or not the same in all of them.
    """
    classes = (cfg.model.get('cls_head') or {}).get('num_classes')
    if classes is None:
        return
    check_names(cfg, splits, classes)
    folders: dict[str, list[str]] = {}
    for key, dataset in _iter_datasets(cfg, splits):
        kind = registered_class(DATASETS, dataset['type'])
        if isinstance(kind, type) and issubclass(kind, LabeledVideoFolderDataset):
            folders[key] = _check_class_folders(key, kind, dataset, classes)
            first = next(iter(folders))
            _compare_classes(first, folders[first], key, folders[key])
            continue
        if _has_no_labels(kind):
            raise ValueError(
                f'{key}.type: {kind.__name__} has no labels, and the model is a '
                'classifier; use LabeledVideoFolderDataset on a folder with a '
                'sub-folder for each class, or TolerantVideoDataset with an ann_file '
                "of lines 'VIDEO LABEL', the label a number from 0"
            )
        annotation, layout = _annotation_file(dataset), _layout(dataset)
        if not annotation or is_remote(annotation) or not layout:
            continue
        for number, line in enumerate(_read_lines(key, annotation, layout), 1):
            labels = layout.split(line)[len(layout.columns) :]
            if not labels or any(not 0 <= int(label) < classes for label in labels):
                raise ValueError(
                    f'{key}.ann_file: line {number} of {annotation}: expected a label '
                    f'from 0 to {classes - 1}, as model.cls_head.num_classes={classes} '
                    f'says, got {" ".join(labels) or "none"}; fix it, or set the '
                    'number of classes'
                )


def check_names(cfg: Config, splits: Sequence[str], classes: int) -> None:
    """Compare the names of classes with their number, and among datasets.

    Args:
        cfg (Config): the config of the run.
        splits (Sequence[str]): as in :func:`check_data`.
        classes (int): how many there are.

    Raises:
        FileNotFoundError: if there is no file of the names.
        ValueError: if they are not as many, or not the same in all datasets.
    """
    first: tuple[str, list[str]] | None = None
    for key, dataset in _iter_datasets(cfg, splits):
        names = class_names(dataset, key)
        if names is None:
            continue
        if len(names) != classes:
            raise ValueError(
                f'{key}.metainfo.classes: expected {classes} names, as '
                f'model.cls_head.num_classes={classes} says, got {len(names)}'
                f'{_of_file(dataset)}; fix them, or set the number of classes with '
                f'--cfg-options model.cls_head.num_classes={len(names)}'
            )
        first = first or (key, names)
        if other := difference(names, first[1]):
            raise ValueError(
                f'{key}.metainfo.classes: expected the names of {first[0]}, in the '
                f'same order, got others: {other}'
            )


def _of_file(dataset: Any) -> str:
    source = (dataset.get('metainfo') or {}).get('classes')
    return f' in {source}' if isinstance(source, str) else ''


def check_labels(cfg: Config, split: str) -> None:
    """Check that every video has a label, for tools that compare labels.

    Args:
        cfg (Config): with the dataset of ``split``.
        split (str): 'train', 'val' or 'test'.

    Raises:
        ValueError: if there is a video without one, or with several.
    """
    for key, dataset in _iter_datasets(cfg, (split,)):
        kind = registered_class(DATASETS, dataset['type'])
        annotation, layout = _annotation_file(dataset), _layout(dataset)
        if _has_no_labels(kind):
            raise ValueError(
                f'{key}.type: {kind.__name__} has no labels; expected a dataset with '
                f"an annotation file, such as TolerantVideoDataset, with 'VIDEO LABEL' "
                'on every line'
            )
        if not annotation or is_remote(annotation) or not layout:
            continue
        for number, line in enumerate(_read_lines(key, annotation, layout), 1):
            labels = layout.split(line)[len(layout.columns) :]
            if len(labels) != 1 or int(labels[0]) < 0:
                raise ValueError(
                    f'{key}.ann_file: line {number} of {annotation}: expected '
                    f"'{layout.form}' with one label from 0, got {line!r}"
                )


def _has_no_labels(kind: Any) -> bool:
    return (
        isinstance(kind, type)
        and issubclass(kind, VideoFolderDataset)
        and not issubclass(kind, LabeledVideoFolderDataset)
    )


def _check_class_folders(key: str, kind: Any, dataset: Any, count: int) -> list[str]:
    """Compare the classes of a folder with those of the model; returns their names."""
    folder = _join_root(dataset, (dataset.get('data_prefix') or {}).get('video') or '')
    names = kind._load_metainfo(dataset.get('metainfo')).get('classes')
    try:
        names = scan_classes(folder, names).classes
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f'{key}.{error}') from None
    if len(names) != count:
        raise ValueError(
            f'{key}: {folder} has {len(names)} classes (its folders, or metainfo.'
            f'classes), but model.cls_head.num_classes={count}; set the latter with '
            f'--cfg-options model.cls_head.num_classes={len(names)}, or name all '
            'classes in metainfo.classes'
        )
    return names


def _compare_classes(
    first: str, expected: Sequence[str], key: str, names: Sequence[str]
) -> None:
    """Reject folders that would give the same number to different classes."""
    if [*expected] != [*names]:
        number = next(
            i
            for i, pair in enumerate(zip(expected, names, strict=True))
            if len({*pair}) > 1
        )
        raise ValueError(
            f'{key}: expected the classes of {first}, but class {number} is '
            f'{names[number]!r} here and {expected[number]!r} there; give both the '
            'same metainfo.classes'
        )


def _iter_datasets(cfg: Config, splits: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield key and config of every dataset that the splits read."""
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        if loader:
            yield from iter_datasets(loader['dataset'], f'{split}_dataloader.dataset')


def _join_root(dataset: Any, path: str) -> str:
    root = dataset.get('data_root') or ''
    return join_path(root, path) if root and not is_abs(path) else path


def _annotation_file(dataset: Any) -> str:
    """Give the path of a dataset's annotation file; '' if it has none."""
    path = dataset.get('ann_file')
    return _join_root(dataset, path) if path else ''


def _layout(dataset: Any) -> _Layout | None:
    """Say how a dataset reads its annotation file; None if in a way of its own."""
    kind = registered_class(DATASETS, dataset['type'])
    load = getattr(kind, 'load_data_list', None)
    if load is VideoDataset.load_data_list:
        delimiter = dataset.get('delimiter', ' ')
        return _Layout('video', delimiter, ('VIDEO',), os.path.isfile)
    if load is TabSeparatedVideos.load_data_list:
        delimiter = dataset.get('delimiter')
        return _Layout('video', delimiter, ('VIDEO',), os.path.isfile, tabs=True)
    if load is RawframeDataset.load_data_list:
        numbers = ('OFFSET',) * bool(dataset.get('with_offset')) + ('FRAMES',)
        return _Layout('img', None, ('FOLDER', *numbers), os.path.isdir)
    return None


def _check_prefix(key: str, dataset: Any, layout: _Layout) -> None:
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


def _read_lines(key: str, annotation: str, layout: _Layout) -> list[str]:
    """Read the lines of an annotation file.

    Raises:
        ValueError: if it is no text in UTF-8, or a file of another form.
    """
    with open(annotation, 'rb') as file:
        head = file.read(4096)
    where = f'{key}.ann_file: {annotation}'
    if head.startswith(codecs.BOM_UTF8):
        raise ValueError(
            f'{where} begins with a byte-order mark, which would become part of the '
            f"first name; remove it: sed -i '1s/^\\xef\\xbb\\xbf//' {annotation}"
        )
    first = layout.split(head.partition(b'\n')[0].decode('utf-8', 'replace'))
    if len(first) > 1 and _is_number(first[-1]):
        head = head.lstrip(b' [{')  # of a name, and not of JSON
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b'\0' in head:
        raise ValueError(
            f'{where}: expected text in UTF-8, got UTF-16 or no text; convert it: '
            f'iconv -f UTF-16 -t UTF-8 {annotation} > NEW'
        )
    start = head.lstrip()[:1]
    form = 'JSON' if start in (b'[', b'{') else 'CSV'
    first = layout.split(head.partition(b'\n')[0].decode('utf-8', 'replace'))
    is_line = len(first) > 1 and _is_number(first[-1])  # names may begin with [
    kind = recognize(annotation)
    if kind == 'ucf101' or (not is_line and (kind or form == 'JSON')):
        raise ValueError(
            f'{where} is {_FORMS.get(kind or "", f"{form}, as published")}; expected '
            f"lines '{layout.form}' with a number from 0 as label; "
            + (
                f'make them: python tools/data/prepare.py {kind} --videos FOLDER '
                f'--labels {annotation} --out FOLDER; see docs/datasets.md'
                if kind
                else 'see docs/datasets.md, "Annotation files"'
            )
        )
    try:
        return list_from_file(annotation)
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{where}: expected text in UTF-8, got the byte '
            f'{error.object[error.start]:#x} at {error.start}; convert it: '
            f'iconv -f ISO-8859-1 -t UTF-8 {annotation} > NEW'
        ) from error


def _check_annotation(key: str, dataset: Any, annotation: str) -> list[str]:
    """Check an annotation file as far as that is possible without the dataset.

    Returns:
        list[str]: its lines; none if the dataset reads them in a way of its own.
    """
    layout = _layout(dataset)
    lines = _read_lines(key, annotation, layout) if layout else []
    if not os.path.getsize(annotation) or (lines and not any(lines)):
        raise ValueError(
            f'{key}.ann_file: {annotation} is empty; list one video per line in it, '
            f'or name another with --cfg-options {key}.ann_file=PATH'
        )
    if layout is None:
        return []
    fixed = len(layout.columns)
    for number, line in enumerate(lines, 1):
        name, *rest = layout.split(line) or ['']
        numbers, labels = rest[: fixed - 1], rest[fixed - 1 :]
        if (
            not name
            or len(numbers) != fixed - 1
            or not all(map(_is_number, numbers))
            or not all(_is_number(label.removeprefix('-')) for label in labels)
            or (len(labels) > 1 and not dataset.get('multi_class'))
        ):
            delimiter = (
                f'set {key}.delimiter if {layout.delimiter!r} is part of a name'
                if layout.delimiter
                else 'put a tab between a name with blanks and its label'
                if layout.tabs
                else 'names must not hold white space'
            )
            raise ValueError(
                f'{key}.ann_file: line {number} of {annotation}: expected '
                f"'{layout.form}', numbers from 0 for all but the name, got {line!r}; "
                f'fix it, or {delimiter}'
            )
    return lines


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 19  # 64 bits hold it


def _check_names(
    key: str,
    dataset: Any,
    annotation: str,
    prefix: str,
    layout: _Layout,
    lines: Sequence[str],
) -> None:
    """Reject names that lead out of the folder which they are to be below."""
    if dataset.get('allow_outside_prefix'):
        return
    for number, line in enumerate(lines, 1):
        name = layout.split(line)[0]
        if leaves(prefix, os.path.join(prefix, name)):
            where = f'{key}.data_prefix.{layout.prefix}'
            raise ValueError(
                f'{key}.ann_file: {outside_message(annotation, number, prefix, name)}, '
                f'which a list from others could misuse; fix it, name a folder that '
                f'holds them all with {where}, or allow it with '
                f'{key}.allow_outside_prefix=True, which the Tolerant datasets know'
            )


def _check_videos(
    key: str,
    annotation: str,
    prefix: str,
    layout: _Layout,
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
        warn(f'{count}; see docs/data.md, "Unreadable videos"')
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
