"""What the readers of published annotations share: their files, and the videos."""

from __future__ import annotations

import csv
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ...utils.text import printable, read_utf8, some
from ...video.folder import VIDEO_SUFFIXES, find_videos
from .collection import Collection, Sample

#: Files or folders; one alone may stand for itself.
Annotations: TypeAlias = str | Path | Sequence[str | Path]
_SUFFIXES = '.csv', '.json', '.txt'
_HEAD = 1 << 16  # bytes that tell what a file is,
_LINES = 500  # and lines: they fit into them


class Row(NamedTuple):
    """What an annotation says of a video.

    Attributes:
        name (str): of the video, as the annotation gives it.
        label (str, optional): name of its class.
        split (str): of ``SPLITS``.
        where (str): file and place in it, for errors.
        group (str, optional): see :class:`Sample`.
    """

    name: str
    label: str | None
    split: str
    where: str
    group: str | None = None


class Videos:
    """The videos below a folder, by their names without folder and ending.

    Transcoding changes endings, and every distribution of a data set has folders of its
    own; what identifies a video is what is between.

    Args:
        root (str | Path): the folder.

    Raises:
        FileNotFoundError: if it does not exist or holds no video.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)
        self.names = list(video_names(root))
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for name in self.names:
            self._by_stem[stem(name)].append(name)

    def find(self, row: Row) -> list[str]:
        """List the videos that a row may mean."""
        return self._by_stem.get(stem(row.name), [])

    def named(self, text: str) -> list[str]:
        """List the videos with this name, without folder and ending."""
        return self._by_stem.get(text, [])


def video_names(root: str | Path) -> dict[str, str]:
    """Give the path of every video below a folder by its name, with ``/``."""
    # There may be a million: os.path.relpath would take a minute.
    prefix = os.path.join(str(Path(root)), '')
    files = find_videos(root, '--videos')
    return {f.removeprefix(prefix).replace(os.sep, '/'): f for f in files}


def stem(name: str) -> str:
    """Take folders and the ending of a video off a name; other dots belong to it."""
    base, suffix = os.path.splitext(name.rpartition('/')[2])
    return base if suffix.lower() in VIDEO_SUFFIXES else base + suffix


@cache
def plain(name: str) -> str:
    """Give letters and digits of a class name: folders are named in many ways."""
    return re.sub(r'[\W_]', '', name.casefold())


def collect(
    videos: Videos,
    rows: Iterable[Row],
    classes: Sequence[str],
    find: Callable[[Row], list[str]] | None = None,
) -> Collection:
    """Bring annotations and files together.

    Args:
        videos (Videos): the files.
        rows (Iterable[Row]): the annotations.
        classes (Sequence[str]): names of all classes in the order of their numbers.
        find (Callable, optional): lists the files that a row may mean, the best ones.
            Defaults to those with its name.

    Returns:
        Collection: samples in the order of the rows; what has no file is missing, files
        that no row names are unlisted.

    Raises:
        FileNotFoundError: if no video of any row is there.
        ValueError: if rows contradict each other, the classes or the folders.
    """
    find = find or videos.find
    known = {plain(name): name for name in classes}
    numbered = set(classes)
    first: dict[str, Row] = {}
    files: dict[str, Row] = {}
    found = Collection(videos.root, [], list(classes))
    for row in rows:
        if row.label is not None and row.label not in numbered:
            near = get_close_matches(row.label, classes, 1)
            raise ValueError(
                f'{row.where}: expected one of the {len(classes)} classes, got '
                f'{row.label!r}' + (f' ({near[0]!r}?)' if near else '') + '; correct '
                'it, or give annotation files of one and the same release'
            )
        before = first.setdefault(row.name, row)
        if before is not row:
            for what, old, new in (
                ('label', before.label, row.label),
                ('split', before.split, row.split),
            ):
                if old != new:
                    raise ValueError(
                        f'{row.where}: expected one {what} for the video '
                        f'{printable(row.name)}, got {new!r}, and {old!r} in '
                        f'{before.where}; remove one of the two'
                    )
            found.repeated.append(row.name)
            continue
        names = _preferred(find(row), row)
        if not names:
            found.missing.append(row.name)
            continue
        if len(names) > 1:
            raise ValueError(
                f'{row.where}: expected one file for {printable(row.name)} in '
                f'{videos.root}, got {len(names)}: {some(names)}; remove the others, '
                'or name the folder of one kind'
            )
        other = known.get(plain(os.path.basename(os.path.dirname(names[0]))))
        if row.label is not None and other not in (None, row.label):
            raise ValueError(
                f'{row.where}: expected {printable(names[0])} in a folder for '
                f'{row.label!r}, as its label is, got one for {other!r}; move the '
                'file, or correct the annotation'
            )
        if names[0] in files:
            raise ValueError(
                f'{row.where}: expected a file of its own for {printable(row.name)}, '
                f'got {printable(names[0])}, which {files[names[0]].where} means too'
            )
        files[names[0]] = row
        sample = Sample(names[0], row.label, row.split, row.group)
        found.samples.append(sample)
    if not found.samples:
        raise FileNotFoundError(
            f'expected videos of {len(first)} annotations, such as '
            f'{some(first, 1)}, found none of them among the {len(videos.names)} '
            f'videos in {videos.root}, such as {some(videos.names, 1)}; check '
            'both paths, and that they are of the same data set'
        )
    found.unlisted += [name for name in videos.names if name not in files]
    return found


def _preferred(names: list[str], row: Row) -> list[str]:
    """Leave the files that lie in a folder of the row's split, or of its class."""

    def in_split(folders: set[str]) -> bool:
        return any(split_of(folder) == row.split for folder in folders)

    def in_class(folders: set[str]) -> bool:
        return row.label is not None and plain(row.label) in map(plain, folders)

    for lies in (in_split, in_class):
        if len(names) > 1:
            names = [n for n in names if lies(set(n.split('/')[:-1]))] or names
    return names


def split_of(name: str) -> str | None:
    """Give the split that a name states, such as ``'k400_validate'``; None if none."""
    for word in re.split(r'[\W_\d]+', name.lower()):
        if word in _SPLIT_WORDS:
            return _SPLIT_WORDS[word]
    return None


_SPLIT_WORDS = {
    'train': 'train',
    'training': 'train',
    'val': 'val',
    'valid': 'val',
    'validate': 'val',
    'validation': 'val',
    'test': 'test',
    'testing': 'test',
}


def as_paths(annotations: Annotations) -> list[Path]:
    """List paths; one alone may stand for itself."""
    if isinstance(annotations, (str, os.PathLike)):
        return [Path(annotations)]
    return [Path(path) for path in annotations or ()]


def annotation_files(
    annotations: Annotations, kind: str, expected: str
) -> list[tuple[Path, bool]]:
    """List annotation files, those below folders among them.

    Args:
        annotations (Annotations): files and folders.
        kind (str): the data set, for errors.
        expected (str): its files, for errors.

    Returns:
        list[tuple[Path, bool]]: files, and whether they were given by name: in a folder
        there may be others.

    Raises:
        FileNotFoundError: if there is none.
    """
    files: dict[Path, bool] = {}
    paths = as_paths(annotations)
    for path in paths:
        if path.is_file():
            files[path] = True
        elif not path.is_dir():
            raise FileNotFoundError(
                f'--labels: expected {expected}, found nothing at {path.absolute()}'
            )
        else:
            for folder, folders, names in os.walk(path):
                folders.sort()
                for name in sorted(names):
                    if name.lower().endswith(_SUFFIXES):
                        files.setdefault(Path(folder, name), False)
    if not files:
        where = ', '.join(map(str, paths)) or 'no --labels'
        raise FileNotFoundError(
            f'--labels: expected {expected}, the official files of {kind}, or their '
            f'folder, got {where}'
        )
    return list(files.items())


def files_by_role(
    annotations: Annotations,
    kind: str,
    expected: str,
    roles: Mapping[str, str],
    required: Sequence[str],
) -> dict[str, Path]:
    """Find the files of a data set by their names.

    Args:
        annotations (Annotations): files and folders.
        kind (str): the data set.
        expected (str): its files, for errors.
        roles (Mapping[str, str]): what each file is for, and a regular expression for
            its whole name, without regard to case; '' if it is not needed.
        required (Sequence[str]): roles that cannot do without.

    Returns:
        dict[str, Path]: the file of each role that there is.

    Raises:
        FileNotFoundError: if a required one is not there.
        ValueError: if two files have the same role, or one given by name has none.
    """
    found: dict[str, Path] = {}
    files = annotation_files(annotations, kind, expected)
    for file, by_name in files:
        name = file.name
        role = next((r for r, p in roles.items() if re.fullmatch(p, name, re.I)), None)
        if role in found:
            raise ValueError(
                f'--labels: expected one file for {role}, got {found[role]} and {file};'
                ' name the right files instead of their folder'
            )
        if role:
            found[role] = file
        elif by_name and role is None:
            raise wrong_file(file, kind, expected)
    if not found:
        reject_others([file for file, _ in files], kind, expected)
    for role in required:
        if role not in found:
            raise FileNotFoundError(
                f'--labels: expected {expected}, found no file for {role} in '
                f'{", ".join(map(str, as_paths(annotations)))}; name it as well, or '
                'the folder of all'
            )
    return found


def check_fold(fold: int) -> None:
    """Reject a number of a split that UCF101 and HMDB51 do not have."""
    if not 1 <= fold <= 3:
        raise ValueError(f'--fold: expected 1, 2 or 3, got {fold}')


def reject_others(files: Iterable[Path], kind: str, expected: str) -> None:
    """Say of which data set files are, if they are of another one."""
    for file in files:
        if recognize(file) not in (None, kind):
            raise wrong_file(file, kind, expected)


def wrong_file(file: Path, kind: str, expected: str) -> ValueError:
    """Say that a file is not one of the data set, and of which it is."""
    other = recognize(file)
    return ValueError(
        f'--labels: expected {expected}, got {file}'
        + (f', which is a file of {other}: use the kind {other}' if other else '')
        * (other != kind)
    )


def read_json(file: Path, kind: str, form: type, expected: str) -> Any:
    """Read a JSON file whose outermost element is of a type.

    Raises:
        ValueError: if it is no JSON, or another type.
    """
    try:
        content = json.loads(file.read_text('utf-8-sig'))
    except ValueError as error:
        raise ValueError(f'{file}: expected JSON, got "{error}"; get it anew') from None
    if not isinstance(content, form):
        raise wrong_file(file, kind, f'{expected} in it')
    return content


def read_lines(file: Path) -> list[str]:
    """Read the lines of a text file.

    Raises:
        ValueError: if it is no text in UTF-8.
    """
    return read_utf8(file).splitlines()


def class_names(numbers: Mapping[str, int], file: Path, first: int = 0) -> list[str]:
    """Order class names by their numbers.

    Args:
        numbers (Mapping[str, int]): number of each name.
        file (Path): where they are from, for errors.
        first (int): the number that the first class is to have. Defaults to 0.

    Raises:
        ValueError: if a number is missing or stands twice.
    """
    names = sorted(numbers, key=lambda name: numbers[name])
    for number, name in enumerate(names, first):
        if numbers[name] != number:
            raise ValueError(
                f'{file}: expected the classes {first} to {first + len(names) - 1}, '
                f'each once, got {numbers[name]} for {name!r}; get it anew'
            )
    return names


def recognize(file: str | Path) -> str | None:
    """Tell the data set that an annotation file was published with.

    Args:
        file (str | Path): path of a file.

    Returns:
        str | None: a kind of ``tools/data/prepare.py``; None for any other file.
    """
    with open(file, 'rb') as content:
        head = content.read(_HEAD).decode('utf-8-sig', errors='replace').lstrip()
    lines = [line.strip() for line in head.splitlines() if line.strip()]
    if not lines:
        return None
    if head[0] in '[{':
        for kind, pattern in _JSON.items():
            if re.search(pattern, head):
                return kind
        return None
    delimiter = '\t' if '\t' in lines[0] else ','
    first = next(csv.reader([lines[0]], delimiter=delimiter))
    columns = {column.strip().lower() for column in first}
    if 'youtube_id' in columns:
        return 'kinetics'
    if len(columns) > 1 and {'start', 'end'} <= columns:
        return 'segments'
    if len(columns) > 1 and columns & {'label', 'class'}:
        return 'folder'
    if re.fullmatch(r'\d+;.*\w.*', lines[0]):
        return 'ssv2'
    for kind, (name, pattern) in _TEXT.items():
        if re.fullmatch(name, os.path.basename(file)) and all(
            re.fullmatch(pattern, line) for line in lines[:_LINES]
        ):
            return kind
    return None


_JSON = {
    'diving48': r'"vid_name"\s*:|^\[\s*\[\s*"(Back|Forward|Inward|Reverse)"',
    'ssv2': r'"template"\s*:|^\{\s*"[^"]* something[^"]*"\s*:\s*"?\d|^\[\s*\{\s*"id"',
    'kinetics': r'"(annotations|subset|url|duration)"\s*:',
}
# Their lines look like those of a list, but their numbers begin at 1 or mean a split.
_TEXT = {
    'ucf101': (
        r'(train|test)list\d\d\.txt',
        r'(\w+)/v_\w+_g\d\d_c\d\d\.\w+( [1-9]\d*)?',
    ),
    'hmdb51': (r'\w+_test_split\d\.txt', r'[^/]+\.avi [012]'),
}
