"""Any folder of videos: unlabeled, labeled by its sub-folders, or by a table."""

from __future__ import annotations

import csv
import io
import json
import os
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from ...utils.text import not_utf8, read_utf8
from ...video.folder import VIDEO_SUFFIXES, find_videos
from .collection import Collection, Sample
from .official import recognize

#: Names of columns, without case, blanks and underscores.
_COLUMNS = {
    'name': ('path', 'video', 'file', 'filename', 'name', 'videopath', 'filepath',
             'videoname', 'videofile', 'clip', 'videoid', 'id'),
    'label': ('label', 'class', 'category', 'action', 'classname', 'labelname',
              'target', 'activity'),
    'split': ('split', 'subset', 'set', 'partition', 'fold'),
    'group': ('group', 'groupid', 'subject', 'person', 'actor', 'source'),
    'start': ('start', 'starttime', 'timestart', 'begin', 'from'),
    'end': ('end', 'endtime', 'timeend', 'stop', 'to'),
}  # fmt: skip
_SPLITS = {
    **{name: 'train' for name in ('train', 'training', 'tr')},
    **{name: 'val' for name in ('val', 'valid', 'validation', 'dev', 'validate')},
    **{name: 'test' for name in ('test', 'testing', 'te', 'eval', 'evaluation')},
}
_DELIMITERS = '\t;,|'
# Of the files that a table names, so many may be missing.
_MAX_MISSING = 0.5


def read(
    videos: str | Path,
    annotations: str | Path | Sequence[str | Path] | None = None,
    labels_from_folders: bool = False,
) -> Collection:
    """Read a folder.

    Args:
        videos (str | Path): the folder; videos lie at any depth.
        annotations (str | Path, optional): a table, or several: see
            :func:`read_table`. Defaults to None, no labels.
        labels_from_folders (bool): the first folder below ``videos`` is the class; the
            second, if the first are called train, val, test or the like. Defaults to
            False.

    Returns:
        Collection: with classes in the order of their names, or numbers if the labels
        are numbers.

    Raises:
        FileNotFoundError: if something does not exist, there is no video, or most of
            those that a table names are missing.
        ValueError: if a table cannot be read or contradicts itself.
    """
    found = names_below(videos)
    if annotations and labels_from_folders:
        raise ValueError('labels: expected a file or those of folders, got both')
    if labels_from_folders:
        return _from_folders(str(videos), found)
    if not annotations:
        return Collection(str(videos), [Sample(name) for name in found])
    if isinstance(annotations, (str, Path)):
        annotations = [annotations]
    rows = [row for path in annotations for row in read_table(path)]
    return _match(str(videos), found, rows)


def _from_folders(root: str, found: Sequence[str]) -> Collection:
    """Take classes, and splits if there are, from the names of folders."""
    parts = [name.split('/')[:-1] for name in found]
    tops = {part[0].lower() for part in parts if part}
    depth = int(len(tops) > 1 and tops <= set(_SPLITS))
    samples = []
    for name, folders in zip(found, parts, strict=True):
        label = folders[depth] if len(folders) > depth else '.'
        split = _SPLITS[folders[0].lower()] if depth and folders else None
        # Hidden folders are those of programs.
        named = None if label.startswith('.') else clean_label(label)
        samples.append(Sample(name, named, split))
    labels = {sample.label for sample in samples if sample.label}
    if not labels:
        raise ValueError(
            f'labels from folders: expected CLASS/VIDEO in {root}, found only videos '
            f'without a folder, such as {found[0]!r}; name a table of labels instead'
        )
    # One without a file is for videos to come; one of other files is none.
    folders_there = Path(root).glob('*/*' if depth else '*')
    empty = [
        folder.name
        for folder in folders_there
        if folder.is_dir()
        and not folder.name.startswith('.')
        and not any(os.scandir(folder))
    ]
    return Collection(root, samples, sort_labels({*labels, *map(clean_label, empty)}))


def names_below(videos: str | Path) -> list[str]:
    """List the videos below a folder, relative to it, with ``/``."""
    files = find_videos(videos, 'videos')
    return [os.path.relpath(file, videos).replace(os.sep, '/') for file in files]


def clean_label(text: str) -> str:
    """Give the name of a class as one line in UTF-8, spelled in one way (NFC)."""
    text = text.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')
    return ' '.join(unicodedata.normalize('NFC', text).split())


def sort_labels(labels: Iterable[str]) -> list[str]:
    """Sort names of classes; by their value if all are numbers."""
    names = sorted(set(labels))
    if all(name.isdecimal() for name in names):
        names.sort(key=int)
    return names


def read_table(path: str | Path) -> list[tuple[str, Sample]]:
    """Read a table with a column of videos, and of labels, splits, groups or times.

    The first line names the columns, in any order and case: path, video, file, filename
    or the like; label, class, category or action; split or subset; group, subject or
    person; start and end in seconds. Without such a line, the columns are video and
    label. Columns end with a tab, a comma, a semicolon or ``|``; fields may be in
    quotes; UTF-8, with a byte-order mark or not, or UTF-16 with one. ``VIDEO LABEL``,
    as in the annotation files of MMAction2, is read, too.

    Args:
        path (str | Path): the file.

    Returns:
        list[tuple[str, Sample]]: where each sample is (file and line), and what it is;
        its name as it is in the file.

    Raises:
        FileNotFoundError: if it does not exist.
        ValueError: if it is no such table.
    """
    text = _read_text(Path(path))
    lines = text.splitlines()
    if not any(line.strip() for line in lines):
        raise ValueError(f'{path}: expected a table of videos, got an empty file')
    if _is_json(text):
        raise ValueError(
            f'{path}: expected a table (csv or tsv), got JSON'
            + (_use_kind(path) or '; convert it')
        )
    columns, rows = _find_columns(path, _split(path, text))
    return [
        (f'line {number} of {path}', _sample(f'line {number} of {path}', columns, row))
        for number, row in rows
    ]


def _split(path: str | Path, text: str) -> list[tuple[int, list[str]]]:
    """Split a table with the delimiter that most lines agree on."""

    def parse(delimiter: str) -> list[tuple[int, list[str]]]:
        reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter)
        try:
            rows = [(reader.line_num, row) for row in reader]
        except csv.Error as error:
            raise ValueError(f'{path}: line {reader.line_num}: {error}') from error
        return [(n, row) for n, row in rows if any(field.strip() for field in row)]

    def agreement(rows: list[tuple[int, list[str]]]) -> int:
        size = len(rows[0][1])
        return sum(len(row) == size for _, row in rows) if size > 1 else 0

    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    pairs = [(n, line.rsplit(None, 1)) for n, line in lines]
    if all(len(pair) == 2 and _is_video(pair[0]) for _, pair in pairs):
        return pairs  # as in annotation files of MMAction2
    best = max(map(parse, _DELIMITERS), key=agreement)
    return best if agreement(best) else parse('\t')


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in ('{', '['):  # names may begin so, too
        return False
    with suppress(ValueError):
        json.loads(text)
        return True
    return False


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(
            f'labels: expected a file, found none at {path.resolve()}'
        )
    content = path.read_bytes()
    is_utf16 = content[:2] in (b'\xff\xfe', b'\xfe\xff')
    if not is_utf16 and b'\0' in content:
        raise ValueError(
            f'{path}: expected a text file with a table, got no text; save a '
            'spreadsheet as CSV (UTF-8)'
        )
    if content[:2] == b'PK':
        raise ValueError(
            f'{path}: expected a text file with a table, got a spreadsheet or an '
            'archive; save it as CSV (UTF-8)'
        )
    if not is_utf16:
        return read_utf8(path)
    try:
        return content.decode('utf-16')
    except UnicodeDecodeError as error:
        raise not_utf8(path, error, 'save it as CSV (UTF-8)') from error


def _find_columns(
    path: str | Path, rows: list[tuple[int, list[str]]]
) -> tuple[dict[str, int], list[tuple[int, list[str]]]]:
    """Give the place of each column, and the rows below their names."""
    head = [_plain(field) for field in rows[0][1]]
    columns: dict[str, int] = {}
    for column, aliases in _COLUMNS.items():
        places = [head.index(alias) for alias in aliases if alias in head]
        if places:
            columns[column] = places[0]
    first = rows[0][1]
    if 'name' in columns:
        if len(rows) == 1:
            raise ValueError(f'{path}: expected a video in each line, found none')
        known = {'', *(head[place] for place in columns.values())}
        others = [f for f, plain in zip(first, head, strict=True) if plain not in known]
        if 'label' not in columns and others:
            # Without labels nothing but pre-training is left, so ask.
            raise ValueError(
                f'{path}: expected a column label, class, category or action, got '
                f'{", ".join(map(repr, others[:6]))}; call the one that has the labels '
                'label, or remove these columns if there are none'
            )
        return columns, rows[1:]
    if columns or not any(_is_video(field) for field in first):
        raise ValueError(
            f'{path}: expected a first line that names the columns, among them path, '
            f'video, file or filename, got {", ".join(map(repr, first[:6]))}'
            + _use_kind(path)
        )
    if len(first) > 2:
        raise ValueError(
            f'{path}: expected a first line that names the {len(first)} columns, such '
            f'as path and label, got {", ".join(map(repr, first[:6]))}'
        )
    place = next(i for i, field in enumerate(first) if _is_video(field))
    return {'name': place, **({'label': 1 - place} if len(first) == 2 else {})}, rows


def _use_kind(path: str | Path) -> str:
    kind = recognize(path)
    if kind in (None, 'folder'):
        return ''
    return f'; this is a file of {kind}: use the kind {kind} instead of folder'


def _plain(text: str) -> str:
    return ''.join(c for c in text.lower() if c.isalnum())


def _is_video(text: str) -> bool:
    return os.path.splitext(text.strip())[1].lower() in VIDEO_SUFFIXES


def _sample(where: str, columns: dict[str, int], row: list[str]) -> Sample:
    def field(column: str) -> str:
        place = columns.get(column, len(row))
        return row[place] if place < len(row) else ''

    # Names may begin with a blank; one that ends with it was padded.
    name = field('name')
    if not name.strip():
        raise ValueError(f'{where}: expected the name of a video, got none')
    needed = max(columns[c] for c in ('name', 'label') if c in columns)
    if len(row) <= needed:
        raise ValueError(
            f'{where}: expected at least {needed + 1} fields, got {len(row)}: {row}'
        )
    split = field('split').strip()
    if split and split.lower() not in _SPLITS:
        raise ValueError(
            f'{where}: expected train, val or test as split, got {split!r}'
        )
    times: list[float | None] = []
    for column in ('start', 'end'):
        value = field(column).strip()
        try:
            times.append(float(value.replace(',', '.')) if value else None)
        except ValueError:
            raise ValueError(
                f'{where}: expected seconds as {column}, got {value!r}'
            ) from None
    return Sample(
        name,
        clean_label(field('label')) or None,
        _SPLITS.get(split.lower()),
        clean_label(field('group')) or None,
        *times,
    )


class NameIndex:
    """Finds the files that annotations mean.

    Args:
        names (Iterable[str]): what is there, relative to the folder, with ``/``.
        root (str): the folder.
    """

    def __init__(self, names: Iterable[str], root: str) -> None:
        self._root = _normal(os.path.abspath(root)).rstrip('/') + '/'
        self._folder = _normal(os.path.basename(os.path.abspath(root))) + '/'
        self._whole: dict[str, list[str]] = {}
        self._stems: dict[str, list[str]] = {}
        self._ends: dict[str, list[str]] = {}
        for name in names:
            key = _normal(name)
            self._whole.setdefault(key, []).append(name)
            self._stems.setdefault(os.path.splitext(key)[0], []).append(name)
            base = key.rpartition('/')[2]
            for end in {base, os.path.splitext(base)[0]}:
                self._ends.setdefault(end, []).append(name)

    def find(self, name: str) -> list[str]:
        """Give the files that a name may mean: one, unless none or several do.

        As it is, in any spelling of Unicode, with backslashes, as a whole path, with
        the folder's own name in front, without suffix, and without its folders.
        """
        for spelling in dict.fromkeys((name, name.strip())):
            key = _normal(spelling)
            while key.startswith('./'):
                key = key[2:]
            for short in dict.fromkeys(
                (key, key.removeprefix(self._root), key.removeprefix(self._folder))
            ):
                found = self._whole.get(short) or self._stems.get(short)
                if found:
                    exact = [n for n in found if n == spelling]
                    return exact or found
            if '/' not in key and key in self._ends:
                return self._ends[key]
        return []


def _normal(name: str) -> str:
    return unicodedata.normalize('NFC', name).replace('\\', '/')


def _match(
    root: str, found: Sequence[str], rows: Sequence[tuple[str, Sample]]
) -> Collection:
    """Find the files of a table, and compare what its lines say of each."""
    index = NameIndex(found, root)
    samples: dict[tuple[str, float | None, float | None], tuple[str, Sample]] = {}
    missing: dict[str, str] = {}
    repeated: set[str] = set()
    for where, sample in rows:
        files = index.find(sample.name)
        if len(files) > 1:
            raise ValueError(
                f'{where}: expected a name that means one video, got {sample.name!r}, '
                f'which may be {files[0]} or {files[1]}; write the whole name'
            )
        if not files:
            missing.setdefault(sample.name, where)
            continue
        sample = sample._replace(name=files[0])
        key = sample.name, sample.start, sample.end
        if key in samples:
            repeated.add(sample.name)
        before, first = samples.setdefault(key, (where, sample))
        for what in ('label', 'split', 'group'):
            old, new = getattr(first, what), getattr(sample, what)
            if old != new:
                raise ValueError(
                    f'{before} and {where} contradict each other: {sample.name} has '
                    f'the {what} {old!r}, and {new!r}; remove one'
                )
    if len(missing) > _MAX_MISSING * len(rows):
        name, where = next(iter(missing.items()))
        raise FileNotFoundError(
            f'{len(missing)} of the {len(rows)} videos in the labels are not below '
            f'{root}, the first in {where}: {name!r}; found there, for example, '
            f'{found[0]!r}; check the folder of the videos'
        )
    kept = [sample for _, sample in samples.values()]
    kept.sort(key=lambda s: (s.name, s.start or 0, s.end or 0))
    listed = {sample.name for sample in kept}
    return Collection(
        root,
        kept,
        sort_labels(sample.label for _, sample in rows if sample.label),
        missing=sorted(missing),
        unlisted=[name for name in found if name not in listed],
        repeated=sorted(repeated),
    )
