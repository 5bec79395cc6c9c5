"""Kinetics-400, -600, -700 and -700-2020 as published.

Format: the CSV files of deepmind.com/research/open-source/kinetics, with the columns
``label,youtube_id,time_start,time_end,split`` (some have ``is_cc``, those of test sets
may have no label). Layouts: the folders of the crawler of ActivityNet
(``LABEL/ID_000001_000011.mp4``), of MMAction2 (``videos_train/LABEL_/...``) and of
github.com/cvdfoundation/kinetics-dataset (``train/ID_000001_000011.mp4``).
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

from .collection import SPLITS, Collection
from .official import (
    Annotations,
    Row,
    Videos,
    annotation_files,
    as_paths,
    collect,
    read_lines,
    reject_others,
    split_of,
    wrong_file,
)

_FILES = 'train.csv, and val.csv and test.csv if wanted, with the column youtube_id'
_NEEDED = 'youtube_id', 'time_start', 'time_end'


def read(videos: str | Path, annotations: Annotations) -> Collection:
    """Read a Kinetics data set. Missing videos are normal.

    Args:
        videos (str | Path): folder of the videos, by class, by split, or neither.
        annotations (Annotations): the CSV files or their folder.

    Returns:
        Collection: with the class names in alphabetical order, as everywhere.

    Raises:
        FileNotFoundError: if a file, or every video, is missing.
        ValueError: if a file is of another form, or they contradict each other.
    """
    sources: dict[str, Path] = {}
    rows: list[Row] = []
    files = annotation_files(annotations, 'kinetics', _FILES)
    for file, by_name in files:
        try:
            found = _rows(file)
        except csv.Error as error:
            raise ValueError(f'{file}: expected CSV, got "{error}"') from None
        if found is None and by_name:
            raise wrong_file(file, 'kinetics', _FILES)
        for split in dict.fromkeys(row.split for row in found or ()):
            if split in sources:
                raise ValueError(
                    f'--labels: expected one file for {split}, got {sources[split]} '
                    f'and {file}; name those of one data set'
                )
            sources[split] = file
        rows += found or ()
    rows.sort(key=lambda row: SPLITS.index(row.split))
    classes = sorted({r.label for r in rows if r.split == 'train' and r.label})
    if not rows:
        reject_others([file for file, _ in files], 'kinetics', _FILES)
    if not classes:
        raise FileNotFoundError(
            f'--labels: expected {_FILES}, got no labels for training in '
            f'{", ".join(map(str, as_paths(annotations)))}; they name the classes'
        )
    below = Videos(videos)
    clips = Counter(name.rsplit('_', 2)[0] for name in {row.name for row in rows})

    def find(row: Row) -> list[str]:
        name, start, end = row.name.rsplit('_', 2)
        names = below.named(row.name) or below.named(f'{name}_{int(start)}_{int(end)}')
        if not names and clips[name] == 1:  # of one clip only, times may be left out
            names = below.named(name)
        # CVDF publishes files that take the place of about 1400 damaged ones.
        return [n for n in names if '/replacement' in f'/{n}'] or names

    return collect(below, rows, classes, find)


def _rows(file: Path) -> list[Row] | None:
    """Read a file; None if it is not one of Kinetics."""
    if file.suffix.lower() != '.csv':
        return None
    table = csv.DictReader(read_lines(file), skipinitialspace=True)
    if not set(_NEEDED) <= set(table.fieldnames or ()):
        return None
    rows = []
    for entry in table:
        where = f'{file}: line {table.line_num}'
        try:
            start, end = (int(float(entry[key])) for key in _NEEDED[1:])
            name = f'{entry["youtube_id"].strip()}_{start:06}_{end:06}'
        except (AttributeError, OverflowError, TypeError, ValueError):
            raise ValueError(
                f'{where}: expected {", ".join(_NEEDED)}, the times in seconds, got '
                f'{", ".join(repr(entry[key]) for key in _NEEDED)}'
            ) from None
        said = (entry.get('split') or '').strip()
        split = split_of(said or file.stem)
        if split is None:
            raise ValueError(
                f'{where}: expected train, val or test in the column split, or in the '
                f'name of the file, got {said or file.name!r}'
            )
        label = (entry.get('label') or '').strip().strip('"') or None
        if label is None and split != 'test':
            raise ValueError(f'{where}: expected a label, got none')
        rows.append(Row(name, label, split, where))
    return rows
