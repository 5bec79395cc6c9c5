"""Annotation files, as the datasets of a config read them."""

import codecs
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mmaction.datasets import RawframeDataset, VideoDataset
from mmaction.registry import DATASETS
from mmengine.fileio import join_path, list_from_file
from mmengine.utils import is_abs

from projects.adamae_command import command_line, docs_page

from ..datasets.annotation_lines import TabSeparatedVideos, split_line
from ..datasets.names_below_prefix import leaves, outside_message
from ..datasets.preparers.official import recognize
from .safeguards import registered_class

# What is read by ``tools/data/prepare.py`` and is no JSON or CSV of a publication.
_FORMS = {
    'folder': 'CSV with a header',
    'segments': 'a table of segments',
    'ucf101': 'a list of UCF101, whose labels begin at 1',
}


class Layout(NamedTuple):
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


def join_root(dataset: Any, path: str) -> str:
    """Join a path with ``data_root``, as MMEngine's ``BaseDataset`` does it."""
    root = dataset.get('data_root') or ''
    return join_path(root, path) if root and not is_abs(path) else path


def annotation_file(dataset: Any) -> str:
    """Give the path of a dataset's annotation file; '' if it has none."""
    path = dataset.get('ann_file')
    return join_root(dataset, path) if path else ''


def layout_of(dataset: Any) -> Layout | None:
    """Say how a dataset reads its annotation file; None if in a way of its own."""
    kind = registered_class(DATASETS, dataset['type'])
    load = getattr(kind, 'load_data_list', None)
    if load is VideoDataset.load_data_list:
        delimiter = dataset.get('delimiter', ' ')
        return Layout('video', delimiter, ('VIDEO',), os.path.isfile)
    if load is TabSeparatedVideos.load_data_list:
        delimiter = dataset.get('delimiter')
        return Layout('video', delimiter, ('VIDEO',), os.path.isfile, tabs=True)
    if load is RawframeDataset.load_data_list:
        numbers = ('OFFSET',) * bool(dataset.get('with_offset')) + ('FRAMES',)
        return Layout('img', None, ('FOLDER', *numbers), os.path.isdir)
    return None


def read_lines(key: str, annotation: str, layout: Layout) -> list[str]:
    """Read the lines of an annotation file.

    Args:
        key (str): of its dataset, for errors.
        annotation (str): its path.
        layout (Layout): of its lines.

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
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b'\0' in head:
        raise ValueError(
            f'{where}: expected text in UTF-8, got UTF-16 or no text; convert it: '
            f'iconv -f UTF-16 -t UTF-8 {annotation} > NEW'
        )
    form = 'JSON' if head.lstrip()[:1] in (b'[', b'{') else 'CSV'
    first = layout.split(head.partition(b'\n')[0].decode('utf-8', 'replace'))
    is_line = len(first) > 1 and _is_number(first[-1])  # names may begin with [
    kind = recognize(annotation)
    options = '--videos', 'FOLDER', '--labels', annotation, '--out', 'FOLDER'
    if kind == 'ucf101' or (not is_line and (kind or form == 'JSON')):
        raise ValueError(
            f'{where} is {_FORMS.get(kind or "", f"{form}, as published")}; expected '
            f"lines '{layout.form}' with a number from 0 as label; "
            + (
                f'make them: {command_line("data/prepare.py", kind, *options)}; '
                f'see {docs_page("datasets")}'
                if kind
                else f'see {docs_page("datasets", "Annotation files")}'
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


def check_lines(key: str, dataset: Any, annotation: str) -> list[str]:
    """Check an annotation file as far as that is possible without the dataset.

    Args:
        key (str): of the dataset, for errors.
        dataset (dict): its config.
        annotation (str): path of the file.

    Returns:
        list[str]: its lines; none if the dataset reads them in a way of its own.

    Raises:
        ValueError: if there are none, or one is not as the dataset needs it.
    """
    layout = layout_of(dataset)
    lines = read_lines(key, annotation, layout) if layout else []
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


def check_below_prefix(
    key: str,
    dataset: Any,
    annotation: str,
    prefix: str,
    layout: Layout,
    lines: Sequence[str],
) -> None:
    """Reject names that lead out of the folder which they are to be below.

    Args:
        key (str): of the dataset, for errors.
        dataset (dict): its config.
        annotation (str): path of its annotation file.
        prefix (str): the folder.
        layout (Layout): of the lines.
        lines (Sequence[str]): of the file.

    Raises:
        ValueError: if there is one, and the dataset does not allow that.
    """
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


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 19  # 64 bits hold it
