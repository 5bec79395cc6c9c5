"""HMDB51 as published.

Format: serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database,
``testTrainMulti_7030_splits``: for each class and split a file
``CLASS_test_splitN.txt`` with lines ``NAME.avi NUMBER``: 1 is for training (70 videos a
class), 2 for testing (30), and 0 in neither. Videos are ``CLASS/NAME.avi``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from .collection import Collection
from .official import (
    Annotations,
    Row,
    Videos,
    annotation_files,
    as_paths,
    check_fold,
    collect,
    read_lines,
    reject_others,
    wrong_file,
)

_SPLITS = {'0': None, '1': 'train', '2': 'val'}


def read(videos: str | Path, annotations: Annotations, fold: int = 1) -> Collection:
    """Read one split of HMDB51.

    What is for testing becomes ``val``, which MMAction2's configs use for tests as
    well: there is no third list to choose a model with.

    Args:
        videos (str | Path): folder of the videos, in folders of classes or not.
        annotations (Annotations): the text files or their folder.
        fold (int): number of the split, 1 to 3. Defaults to 1.

    Returns:
        Collection: with the class names in alphabetical order. Videos that the split
        leaves out are among the unlisted.

    Raises:
        FileNotFoundError: if a file, or every video, is missing.
        ValueError: if a file is of another form, or they contradict each other.
    """
    check_fold(fold)
    expected = f'CLASS_test_split{fold}.txt for each class'
    folds: dict[str, dict[int, Path]] = defaultdict(dict)
    files = annotation_files(annotations, 'hmdb51', expected)
    for file, by_name in files:
        match = re.fullmatch(r'(.+)_test_split(\d)\.txt', file.name)
        if match is None:
            if by_name:
                raise wrong_file(file, 'hmdb51', expected)
            continue
        other = folds[match[1]].setdefault(int(match[2]), file)
        if other is not file:
            raise ValueError(
                f'--labels: expected one {file.name}, got {other} and {file}'
            )
    classes = sorted(folds)
    lacking = [name for name in classes if fold not in folds[name]]
    if not classes:
        reject_others([file for file, _ in files], 'hmdb51', expected)
    if not classes or lacking:
        raise FileNotFoundError(
            f'--labels: expected {expected}, found none for '
            f'{", ".join(lacking[:3]) or "any class"} in '
            f'{", ".join(map(str, as_paths(annotations)))}'
        )
    rows = []
    for label in classes:
        file = folds[label][fold]
        for at, line in enumerate(read_lines(file), 1):
            name, _, number = line.strip().rpartition(' ')
            if line.strip() and (not name or number not in _SPLITS):
                raise ValueError(
                    f'{file}: line {at}: expected NAME.avi and 0, 1 or 2, got {line!r}'
                )
            split = _SPLITS[number] if line.strip() else None
            if split:
                rows.append(Row(name.strip(), label, split, f'{file}: line {at}'))
    return collect(Videos(videos), rows, classes)
