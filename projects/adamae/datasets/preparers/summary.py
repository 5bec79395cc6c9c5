"""One page about a prepared collection of videos, and the same for programs."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...utils.text import printable
from .collection import SPLITS, Collection, Sample
from .survey import Facts

#: Of all videos to pre-train on, where some of them have a label.
PRETRAIN = 'pretrain.txt'
# How many names the page has of each kind, and how many classes in its table.
_NAMES, _CLASSES = 10, 40
# A name of so many letters may have a slip, if another class has so many times as many
# videos.
_LONG, _RARE = 5, 5
_QUANTILES = {'min': 0, 'p5': 5, 'median': 50, 'p95': 95, 'max': 100}
_TITLES = {
    'unreadable': 'Videos that cannot be read',
    'truncated': 'Videos that end before their header says',
    'unlistable': 'Videos to rename, as no list can hold a tab, a line break or bytes '
    'that are not UTF-8',
    'missing': 'Videos in the annotations that are not there',
    'unlisted': 'Videos that are there and in no annotation',
    'repeated': 'Names that the annotations have more than once, and the lists once',
    'unlabeled': 'Videos without a label; pretrain.txt has those that are for training',
    'black': 'Black videos',
    'static': 'Videos in which nothing moves',
    'duplicates': 'Sets of videos that show the same',
    'duplicates_across_splits': 'Such sets on several sides of the official split',
    'duplicates_across_classes': 'Such sets with several labels',
    'similar_classes': 'Names of classes that may be misspelled ones of others',
    'empty_classes': 'Classes without a video in any list',
    'classes_without_train': 'Other classes without a video in train.txt',
    'classes_without_val': 'Other classes without a video in val.txt',
    'classes_without_test': 'Other classes without a video in test.txt',
}


class Summary(NamedTuple):
    """What :func:`.prepare` found.

    Attributes:
        facts (dict): content of ``summary.json``.
        page (str): content of ``summary.md``.
    """

    facts: dict[str, Any]
    page: str

    def gist(self) -> str:
        """Give a few lines for a terminal."""
        lists = [
            f'{split}.txt: {content["videos"]} videos'
            for split, content in self.facts['splits'].items()
        ]
        if self.facts['pretrain']:
            lists.append(f'{PRETRAIN}: {self.facts["pretrain"]["videos"]} videos')
        if self.facts['classes']:
            lists.append(f'{self.facts["num_classes"]} classes')
        lines = [', '.join(lists)]
        lines += [
            f'{title}: {len(self.facts["problems"][kind])}'
            for kind, title in _TITLES.items()
            if self.facts['problems'].get(kind)
        ]
        lines += [
            f'    {printable(rare)!r}: {printable(other)!r}?'
            for rare, other in self.facts['problems']['similar_classes'][:_NAMES]
        ]
        return '\n'.join(lines)


def describe(
    collection: Collection,
    samples: Sequence[Sample],
    unlabeled: Sequence[str],
    facts: Mapping[str, Facts],
    problems: Mapping[str, tuple[str, str]],
    duplicates: Sequence[Sequence[str]],
    made_with: Mapping[str, Any],
    check_all: bool,
) -> Summary:
    """Summarize a collection.

    Args:
        collection (Collection): all of it.
        samples (Sequence[Sample]): those that are listed, with their splits.
        unlabeled (Sequence[str]): names of those that are for pre-training only.
        facts (Mapping[str, Facts]): of the videos that can be read.
        problems (Mapping[str, tuple[str, str]]): kind and detail of the others.
        duplicates (Sequence[Sequence[str]]): names of videos that show the same.
        made_with (Mapping[str, Any]): arguments that decide what is listed.
        check_all (bool): whether every frame was decoded.

    Returns:
        Summary: for people and programs.
    """
    names = [*dict.fromkeys(sample.name for sample in collection.samples)]
    splits = {}
    for split in SPLITS:
        labels = [sample.label for sample in samples if sample.split == split]
        if labels:
            counts = Counter(labels)
            per_class = {name: counts[name] for name in collection.classes}
            splits[split] = dict(videos=len(labels), per_class=per_class)
    values = [facts[name] for name in names if name in facts]
    listed = {*(sample.name for sample in samples), *unlabeled}
    labeled = sum(sample.split == 'train' for sample in samples)
    data = dict(
        kind=made_with['kind'],
        videos=os.path.abspath(collection.root),
        made_with=dict(made_with),
        checked='every frame' if check_all else 'quickly',
        num_classes=len(collection.classes),
        classes=list(collection.classes),
        splits=splits,
        pretrain=dict(videos=labeled + len(unlabeled)) if unlabeled else {},
        frames=_quantiles(f.frames for f in values),
        seconds=_quantiles(f.seconds for f in values),
        fps=_quantiles(f.fps for f in values),
        short_side=_quantiles(min(f.size) for f in values),
        rates=_count(f'{round(f.fps, 2):g}' for f in values),
        variable_rate=sum(f.variable for f in values),
        sizes=_count(f'{f.size[0]}x{f.size[1]}' for f in values),
        codecs=_count(f.codec for f in values),
        containers=_count(f.container for f in values),
        problems=_problems(collection, names, samples, splits, facts, problems)
        | _duplicate_problems(samples, collection, duplicates),
        left_out=[name for name in names if name not in listed],
        kept_unreadable=sorted(listed & set(problems)),
    )
    return Summary(data, _page(data, len(names)))


def _quantiles(values: Iterable[float]) -> dict[str, float]:
    # Numbers that a video has, and none between two.
    shares = list(_QUANTILES.values())
    numbers = np.percentile(list(values), shares, method='nearest')
    return {
        name: round(float(number), 3)
        for name, number in zip(_QUANTILES, numbers, strict=True)
    }


def _count(values: Iterable[str]) -> dict[str, int]:
    counts = Counter(values)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _problems(
    collection: Collection,
    names: Sequence[str],
    samples: Sequence[Sample],
    splits: Mapping[str, Any],
    facts: Mapping[str, Facts],
    problems: Mapping[str, tuple[str, str]],
) -> dict[str, Any]:
    def with_reason(wanted: Callable[[str], bool]) -> list[list[str]]:
        return [
            [name, ': '.join(problems[name])]
            for name in names
            if name in problems and wanted(problems[name][0])
        ]

    def found(what: str) -> list[str]:
        return [n for n in names if n in facts and getattr(facts[n], what)]

    labels = {sample.label for sample in samples}
    empty = [name for name in collection.classes if name not in labels]
    unlabeled = {s.name for s in collection.samples if s.label is None}
    result: dict[str, Any] = dict(
        unreadable=with_reason(lambda kind: kind != 'truncated'),
        truncated=with_reason(lambda kind: kind == 'truncated'),
        static=found('static'),
        black=found('black'),
        missing=list(collection.missing),
        unlisted=list(collection.unlisted),
        repeated=list(collection.repeated),
        unlabeled=[n for n in names if n in unlabeled] if collection.classes else [],
        unlistable=[name for name in names if not can_be_listed(name)],
        similar_classes=find_misspelled(Counter(s.label for s in samples if s.label)),
        empty_classes=empty,
    )
    for split, content in splits.items():
        result[f'classes_without_{split}'] = [
            name
            for name, count in content['per_class'].items()
            if not count and name not in empty
        ]
    return result


def find_misspelled(videos: Mapping[str, int]) -> list[list[str]]:
    """Find names of classes that are others but for a slip.

    Args:
        videos (Mapping[str, int]): name of a class to the number of its videos.

    Returns:
        list[list[str]]: pairs of a name and the one of more videos that may be meant.
        The two differ in case, blanks and marks only, or in one letter; the second
        counts if the first class is rare and the name is long enough.
    """
    forms: dict[str, list[str]] = {}
    plain: dict[str, str] = {}
    pairs = set()
    for name in sorted(videos, key=lambda name: (-videos[name], name)):
        word = plain[name] = ''.join(c for c in name.casefold() if c.isalnum())
        shorter = {
            word[:i] + word[i + 1 :]
            for i, letter in enumerate(word)
            if len(word) >= _LONG and letter.isalpha()
        }
        for form in {word, *shorter}:
            others = forms.setdefault(form, [])
            pairs |= {
                (name, other)
                for other in others
                if plain[other] == word or videos[other] >= _RARE * videos[name]
            }
            others.append(name)
    return sorted(map(list, pairs))


def can_be_listed(name: str) -> bool:
    """Tell whether a line of an annotation file can hold a name."""
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are not UTF-8
        return False
    return not any(c in name for c in '\t\n\r')


def _duplicate_problems(
    samples: Sequence[Sample],
    collection: Collection,
    duplicates: Sequence[Sequence[str]],
) -> dict[str, Any]:
    splits = {sample.name: sample.split for sample in samples}
    labels = {sample.name: sample.label for sample in collection.samples}

    def several(what: Mapping[str, Any]) -> list[list[str]]:
        return [
            list(group)
            for group in duplicates
            if len({what[name] for name in group if what.get(name)}) > 1
        ]

    return dict(
        duplicates=[list(group) for group in duplicates],
        duplicates_across_splits=several(splits),
        duplicates_across_classes=several(labels),
    )


def _page(data: Mapping[str, Any], total: int) -> str:
    lines = [
        '# Summary of the videos',
        '',
        f'{total} videos below `{_safe(data["videos"])}`, kind {data["kind"]}.',
        '',
        '| list | videos | classes | most and fewest of a class |',
        '| --- | --- | --- | --- |',
    ]
    for split, content in data['splits'].items():
        counts = [count for count in content['per_class'].values() if count]
        spread = f'{max(counts)}, {min(counts)}' if counts else '-'
        lines.append(
            f'| {split}.txt | {content["videos"]} | {len(counts) or "-"} | {spread} |'
        )
    if data['pretrain']:
        lines.append(f'| {PRETRAIN} | {data["pretrain"]["videos"]} | - | - |')
    if data['made_with']['split']:
        shares = ' '.join(f'{share:g}' for share in data['made_with']['split'])
        lines += [
            '',
            f'Split by this tool: {shares}, seed {data["made_with"]["seed"]}.',
        ]
    lines += [
        '',
        '| of a video | min | 5% | median | 95% | max |',
        '| --- | --- | --- | --- | --- | --- |',
    ]
    for name, title in (
        ('frames', 'frames'),
        ('seconds', 'seconds'),
        ('fps', 'frames per second'),
        ('short_side', 'short side, pixels'),
    ):
        cells = ' | '.join(f'{value:g}' for value in data[name].values())
        lines.append(f'| {title} | {cells} |')
    lines.append('')
    for name, title in (
        ('rates', 'frames per second'),
        ('sizes', 'width x height'),
        ('codecs', 'codecs'),
        ('containers', 'containers'),
    ):
        lines.append(f'- {title}: {_most(data[name])}')
    if data['variable_rate']:
        lines.append(f'- videos whose rate varies: {data["variable_rate"]}')
    lines += ['', '## Problems', '']
    lines += [*_problem_lines(data)] or ['None was found.']
    if data['problems']['unreadable'] or data['problems']['truncated']:
        lines += ['', _what_became(data)]
    if data['problems']['duplicates']:
        lines += [
            '',
            'Videos that show the same are on one side of a split by this tool.',
        ]
    if data['checked'] == 'quickly':
        lines += [
            '',
            'Looked for quickly: all packets were read, and a few frames decoded; '
            '`--check-all` decodes every frame.',
        ]
    lines += _class_lines(data)
    return '\n'.join(lines) + '\n'


def _most(counts: Mapping[str, int]) -> str:
    items = [f'{name} ({count})' for name, count in [*counts.items()][:_NAMES]]
    more = len(counts) - len(items)
    return ', '.join(items) + (f' and {more} more' if more else '')


def _problem_lines(data: Mapping[str, Any]) -> Iterable[str]:
    for kind, title in _TITLES.items():
        entries = data['problems'].get(kind)
        if not entries:
            continue
        yield f'- {title}: **{len(entries)}**'
        for entry in entries[:_NAMES]:
            if kind in ('unreadable', 'truncated'):
                entry = f'`{_safe(entry[0])}`: {_safe(entry[1])}'
            elif isinstance(entry, list):
                more = ', ...' * (len(entry) > _NAMES)
                entry = ', '.join(f'`{_safe(name)}`' for name in entry[:_NAMES]) + more
            else:
                entry = f'`{_safe(entry)}`'
            yield f'  - {entry}'
        if len(entries) > _NAMES:
            yield f'  - and {len(entries) - _NAMES} more, see summary.json'


def _what_became(data: Mapping[str, Any]) -> str:
    """Say what became of videos that cannot be read, or not to their end."""
    kept = len(data['kept_unreadable'])
    text = 'Videos that cannot be read, or are cut, are in no list'
    if kept:
        text += (
            f', but for {kept} that the annotations have in val or test: those stay '
            'and count as wrong, as leaving them out would give other numbers'
        )
    return text + '.'


def _class_lines(data: Mapping[str, Any]) -> list[str]:
    splits = data['splits']
    if not data['classes']:
        return []
    lines = ['', '## Classes', '', f'| number | name | {" | ".join(splits)} |']
    lines.append('| --- ' * (len(splits) + 2) + '|')
    for number, name in enumerate(data['classes'][:_CLASSES]):
        counts = ' | '.join(str(splits[s]['per_class'][name]) for s in splits)
        lines.append(f'| {number} | {_safe(name)} | {counts} |')
    more = len(data['classes']) - _CLASSES
    if more > 0:
        lines += ['', f'and {more} more, see summary.json']
    return lines


def _safe(text: str) -> str:
    """Keep a name of other people from ending a line or a table's cell."""
    return printable(text).replace('|', '\\|').replace('`', "'")
