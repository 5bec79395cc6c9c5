"""Diving48 as published.

Format: www.svcl.ucsd.edu/projects/resound/dataset.html: ``Diving48_V2_train.json`` and
``Diving48_V2_test.json`` are lists of ``{"vid_name", "label", "start_frame",
"end_frame"}``; ``Diving48_vocab.json`` has take-off, somersaults, twists and position
of each class in the order of the labels, from 0. Videos are cut already: the frames are
those of the film that they are from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .collection import Collection
from .official import Annotations, Row, Videos, collect, files_by_role, read_json, some

_FILES = 'Diving48_V2_train.json, Diving48_V2_test.json and Diving48_vocab.json'
_ROLES = {
    'train': r'Diving48_V2_train\.json',
    'test': r'Diving48_V2_test\.json',
    'the classes': r'Diving48_vocab\.json',
}


def read(videos: str | Path, annotations: Annotations) -> Collection:
    """Read Diving48, version 2.

    The test list becomes ``val``, which MMAction2's configs use for tests as well:
    there is no third one to choose a model with.

    Args:
        videos (str | Path): folder of ``VID_NAME.mp4``, at any depth, with any ending.
        annotations (Annotations): the three JSON files or their folder.

    Returns:
        Collection: with classes such as ``Back+15som+05Twis+FREE``.

    Raises:
        FileNotFoundError: if a file, or every video, is missing.
        ValueError: if a file is of another form, or they contradict each other.
    """
    files = files_by_role(annotations, 'diving48', _FILES, _ROLES, tuple(_ROLES))
    vocabulary = read_json(files['the classes'], 'diving48', list, 'a list of classes')
    if not all(
        isinstance(parts, list) and all(isinstance(part, str) for part in parts)
        for parts in vocabulary
    ):
        raise ValueError(
            f'{files["the classes"]}: expected a list of four words for each class, '
            f'got {some(vocabulary, 1)}'
        )
    classes = ['+'.join(part.strip() for part in parts) for parts in vocabulary]
    rows = [
        row
        for role, split in (('train', 'train'), ('test', 'val'))
        for row in _rows(files[role], split, classes)
    ]
    return collect(Videos(videos), rows, classes)


def _rows(file: Path, split: str, classes: list[str]) -> Iterator[Row]:
    entries = read_json(file, 'diving48', list, 'a list of videos')
    for at, entry in enumerate(entries, 1):
        where = f'{file}: entry {at}'
        try:
            name, number = str(entry['vid_name']), entry['label']
        except (KeyError, TypeError):
            raise ValueError(
                f'{where}: expected vid_name and label, got {str(entry)[:80]}'
            ) from None
        if not isinstance(number, int) or not 0 <= number < len(classes):
            raise ValueError(
                f'{where}: expected a label from 0 to {len(classes) - 1}, as '
                f'Diving48_vocab.json has {len(classes)} classes, got {number!r}'
            )
        # Dives of one film, such as _8Vy3dlHg2w_00000.
        yield Row(name, classes[number], split, where, name.rpartition('_')[0] or None)
