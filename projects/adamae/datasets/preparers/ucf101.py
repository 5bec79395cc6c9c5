"""UCF101 as published.

Format: crcv.ucf.edu/data/UCF101.php, ``ucfTrainTestlist``: ``classInd.txt`` has lines
``NUMBER CLASS`` from 1, ``trainlist01.txt`` lines ``CLASS/v_CLASS_g08_c01.avi NUMBER``,
``testlist01.txt`` the same without numbers; three splits, of which no group (``g08``:
one person or scene) is in both lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from .collection import Collection
from .official import (
    Annotations,
    Row,
    Videos,
    check_fold,
    class_names,
    collect,
    files_by_role,
    read_lines,
)


def read(videos: str | Path, annotations: Annotations, fold: int = 1) -> Collection:
    """Read one split of UCF101.

    There are two lists. The test list becomes ``val``, which MMAction2's configs use
    for tests as well: there is no third one to choose a model with.

    Args:
        videos (str | Path): folder of the videos, at any depth, with any ending.
        annotations (Annotations): the text files or their folder.
        fold (int): number of the split, 1 to 3. Defaults to 1.

    Returns:
        Collection: with the classes of ``classInd.txt``, numbered from 0.

    Raises:
        FileNotFoundError: if a file, or every video, is missing.
        ValueError: if a file is of another form, or they contradict each other.
    """
    check_fold(fold)
    lists = {split: f'{split}list{fold:02}.txt' for split in ('train', 'test')}
    roles = {
        'the classes': r'classInd\.txt',
        **{name: re.escape(name) for name in lists.values()},
        '': r'(train|test)list\d\d\.txt',  # of the other splits
    }
    expected = f'classInd.txt, {lists["train"]} and {lists["test"]}'
    required = ('the classes', *lists.values())
    files = files_by_role(annotations, 'ucf101', expected, roles, required)
    numbers = {}
    for at, line in enumerate(read_lines(files['the classes']), 1):
        number, _, name = line.strip().partition(' ')
        if line.strip():
            if not number.isdecimal() or not name or name in numbers:
                raise ValueError(
                    f'{files["the classes"]}: line {at}: expected NUMBER CLASS, each '
                    f'class once, got {line!r}'
                )
            numbers[name] = int(number)
    classes = class_names(numbers, files['the classes'], first=1)
    rows = [
        row
        for split, name in lists.items()
        for row in _rows(files[name], 'val' if split == 'test' else 'train', classes)
    ]
    return collect(Videos(videos), rows, classes)


def _rows(file: Path, split: str, classes: list[str]) -> Iterator[Row]:
    for at, line in enumerate(read_lines(file), 1):
        if not line.strip():
            continue
        where = f'{file}: line {at}'
        match = re.fullmatch(r'(.+)/(.+?_(g\d+)_.+?)(?:\s+(\d+))?\s*', line)
        if not match or (match[4] is None and split == 'train'):
            raise ValueError(
                f'{where}: expected CLASS/v_CLASS_g01_c01.avi'
                f'{" NUMBER" * (split == "train")}, got {line!r}'
            )
        label, name, group, number = match.groups()
        if number and label in classes and classes.index(label) + 1 != int(number):
            raise ValueError(
                f'{where}: expected {classes.index(label) + 1} for {label}, as '
                f'classInd.txt says, got {number}; get both files anew'
            )
        yield Row(name, label, split, where, f'{label}_{group}')
