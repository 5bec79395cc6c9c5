"""Something-Something v2 as published.

Format: developer.qualcomm.com/software/ai-datasets/something-something ("Data format"),
as also read by MMAction2's ``tools/data/parse_file_list.py``. ``train`` and
``validation`` are lists of ``{"id", "label", "template", "placeholders"}``, ``test`` of
``{"id"}``; ``labels.json`` has the number of each template without its brackets.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .collection import Collection
from .official import (
    Annotations,
    Row,
    Videos,
    class_names,
    collect,
    files_by_role,
    read_json,
    read_lines,
)

_FILES = (
    'something-something-v2-{train,validation,test}.json and labels.json (or '
    'train.json, validation.json, ...)'
)
_BEFORE = r'(.*[-_.])?'
_ROLES = {
    'labels': rf'{_BEFORE}labels\.json',
    'train': rf'{_BEFORE}train\.json',
    'val': rf'{_BEFORE}val(idation)?\.json',
    'test': rf'{_BEFORE}test\.json',
    'answers': rf'{_BEFORE}test-answers\.csv',
}


def read(videos: str | Path, annotations: Annotations) -> Collection:
    """Read Something-Something v2.

    Args:
        videos (str | Path): folder of ``ID.webm``, at any depth, with any ending.
        annotations (Annotations): the JSON files or their folder. Videos of
            the test set have no label unless ``test-answers.csv`` is among them.

    Returns:
        Collection: with the numbers of ``labels.json``.

    Raises:
        FileNotFoundError: if a file, or every video, is missing.
        ValueError: if a file is of another form, or they contradict each other.
    """
    files = files_by_role(annotations, 'ssv2', _FILES, _ROLES, ('labels', 'train'))
    labels = read_json(files['labels'], 'ssv2', dict, 'an object of numbers')
    try:
        numbers = {name: int(number) for name, number in labels.items()}
    except (OverflowError, TypeError, ValueError):
        raise ValueError(
            f'{files["labels"]}: expected a number for each template, got others'
        ) from None
    classes = class_names(numbers, files['labels'])
    return collect(Videos(videos), _rows(files), classes)


def _rows(files: dict[str, Path]) -> Iterator[Row]:
    answers: dict[str, str] = {}
    if 'answers' in files:
        for line in read_lines(files['answers']):
            name, _, label = line.partition(';')
            answers[name.strip()] = _without_brackets(label)
    for split in ('train', 'val', 'test'):
        if split not in files:
            continue
        entries = read_json(files[split], 'ssv2', list, 'a list of videos')
        for number, entry in enumerate(entries, 1):
            where = f'{files[split]}: entry {number}'
            wanted = {'id'} if split == 'test' else {'id', 'template'}
            whole = isinstance(entry, dict) and wanted <= entry.keys()
            if not whole or not isinstance(entry.get('template', ''), str):
                raise ValueError(
                    f'{where}: expected {" and ".join(sorted(wanted))}, got '
                    f'{str(entry)[:80]}; is it the file for {split}?'
                )
            name = str(entry['id'])
            if 'template' in entry:
                answers[name] = _without_brackets(entry['template'])
            yield Row(name, answers.get(name), split, where)


def _without_brackets(template: str) -> str:
    return template.replace('[', '').replace(']', '').strip()
