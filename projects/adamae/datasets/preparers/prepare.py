"""From a collection of videos to annotation files that train as they are."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ...utils.fileio import AtomicLocalBackend
from ..class_names import CLASSES
from .collection import SPLITS, Collection, Sample
from .duplicates import find_duplicates
from .splits import assign_splits
from .summary import PRETRAIN, Summary, can_be_listed, describe
from .survey import Facts, survey_videos

#: Kind of annotations to the module that reads them.
KINDS = {
    'folder': 'folder',
    'segments': 'segments',
    'ssv2': 'ssv2',
    'kinetics': 'kinetics',
    'ucf101': 'ucf101',
    'hmdb51': 'hmdb51',
    'diving48': 'diving48',
}
PAGE, FACTS, PROGRESS = 'summary.md', 'summary.json', 'progress.jsonl'
#: Link to the videos, where recipes look for them; a folder of segments.
VIDEOS = 'videos'


def read_collection(
    kind: str,
    videos: str | Path,
    annotations: Sequence[str | Path] = (),
    **kwargs: Any,
) -> Collection:
    """Read videos and what is known of them.

    Args:
        kind (str): of ``KINDS``.
        videos (str | Path): folder of the videos.
        annotations (Sequence[str | Path]): files or folders. Defaults to none.
        **kwargs: of the reader.

    Returns:
        Collection: what is there.

    Raises:
        FileNotFoundError: if something is not there.
        ValueError: if there is no such kind, or annotations are of another form.
    """
    if kind not in KINDS:
        raise ValueError(f'kind: expected one of {", ".join(KINDS)}, got {kind!r}')
    reader = import_module(f'.{KINDS[kind]}', __package__)
    return reader.read(Path(videos), [Path(path) for path in annotations], **kwargs)


def prepare(
    collection: Collection,
    out: str | Path,
    *,
    kind: str = 'folder',
    split: Sequence[float] | None = None,
    seed: int = 0,
    workers: int = 1,
    check_all: bool = False,
    time_limit: float = 600,
    overwrite: bool = False,
    dry_run: bool = False,
) -> Summary:
    """Look at all videos of a collection and write lists of them.

    ``train.txt``, ``val.txt`` and ``test.txt``, those that have videos, hold a name, a
    tab and the number of a class (-1 without labels) in each line. ``pretrain.txt`` is
    there if some have a label and others none: ``train.txt``, and those. Of
    ``classes.txt`` the lines are the names of the classes in the order of their
    numbers; ``summary.md`` is one page for people, ``summary.json`` the same for
    programs. ``progress.jsonl`` remembers what was found of each file. The same videos
    give the same bytes.

    Segments become files of their own below ``videos`` in that folder; a dry run
    describes the long videos instead.

    A video that cannot be read is left out, unless the annotations have it in val or
    test: there it stays, and counts as wrong. All are named in the summary.

    Args:
        collection (Collection): what a reader gave.
        out (str | Path): folder of the lists; nothing is written elsewhere.
        kind (str): for the summary. Defaults to ``'folder'``.
        split (Sequence[float], optional): shares of train, val and test of the videos
            without a split, see :func:`.assign_splits`. Defaults to 0.8, 0.1, 0.1; all
            for training if there are no labels.
        seed (int): of that split. Defaults to 0.
        workers (int): processes. Defaults to 1.
        check_all (bool): decode every frame. Defaults to False.
        time_limit (float): seconds for one video. Defaults to 600.
        overwrite (bool): replace lists that are others. Defaults to False.
        dry_run (bool): write nothing. Defaults to False.

    Returns:
        Summary: what was found.

    Raises:
        FileExistsError: if there are other lists in ``out``.
        OSError: if something cannot be read or written and no video is to blame.
        ValueError: if an argument or the collection does not make sense, or no video
            can be read.
    """
    out = Path(out)
    _check_collection(collection)
    undecided = any(sample.split is None for sample in collection.samples)
    if split is not None and not undecided:
        raise ValueError(
            'split: the annotations have one for every video, which stays; leave this '
            'argument out'
        )
    if split is None:
        split = (0.8, 0.1, 0.1) if collection.classes else (1, 0, 0)
    assign_splits([], split)  # is it one?
    decided = dict(split=[*split], seed=seed) if undecided else dict(split=None)
    made_with = dict(kind=kind, **decided)
    if kind == 'folder':
        collection = _with_unlisted(collection)
    if not (overwrite or dry_run):
        _check_out(out, made_with)
    if not dry_run:
        out.mkdir(parents=True, exist_ok=True)
        collection = _cut_segments(collection, out, workers)
    names = list(dict.fromkeys(sample.name for sample in collection.samples))
    paths = {os.path.join(collection.root, name): name for name in names}
    found, bad = survey_videos(
        [*paths], out / PROGRESS, workers, check_all, time_limit, not dry_run
    )
    facts = {paths[path]: value for path, value in found.items()}
    problems = {paths[path]: value for path, value in bad.items()}
    if not facts:
        path, (what, detail) = next(iter(bad.items()))
        raise ValueError(
            f'none of the {len(names)} videos in {collection.root} can be read; '
            f'{path}: {what}: {detail}'
        )
    duplicates = _duplicates(names, facts)
    kept = [s for s in collection.samples if _is_listed(s, collection, problems)]
    sides = assign_splits(kept, split, seed, duplicates)
    samples = [
        sample._replace(split=side) for sample, side in zip(kept, sides, strict=True)
    ]
    unlabeled = _for_pretraining(collection, samples, problems, duplicates)
    summary = describe(
        collection,
        samples,
        unlabeled,
        facts,
        problems,
        duplicates,
        made_with,
        check_all,
    )
    if not dry_run:
        contents = _contents(collection, samples, unlabeled, summary)
        _write(out, contents, overwrite)
    return summary


def link_videos(videos: str | Path, out: str | Path) -> bool:
    """Link a folder of videos as ``videos`` beside the lists, as recipes expect it.

    Args:
        videos (str | Path): the folder.
        out (str | Path): folder of the lists. A link of an earlier time is replaced,
            anything else left.

    Returns:
        bool: whether ``videos`` there is this folder now. Some file systems know no
        links.
    """
    link = Path(out, VIDEOS)
    if link.exists() and link.samefile(videos):
        return True
    try:
        if link.is_symlink():
            link.unlink()
        link.symlink_to(os.path.abspath(videos), target_is_directory=True)
    except OSError:
        return False
    return True


def _check_collection(collection: Collection) -> None:
    if not collection.samples:
        raise ValueError(
            f'expected videos in {collection.root}, found none that the annotations '
            f'name; {len(collection.missing)} of them are missing'
        )
    known = set(collection.classes)
    if len(known) < len(collection.classes):
        (name, _), *_ = Counter(collection.classes).most_common(1)
        raise ValueError(f'expected different names of classes, got {name!r} twice')
    for name in collection.classes:
        if not name.strip() or name.splitlines() != [name]:
            raise ValueError(f'expected classes with a name in one line, got {name!r}')
    for sample in collection.samples:
        if sample.label is not None and sample.label not in known:
            raise ValueError(
                f'{sample.name}: expected a label among the {len(known)} classes, got '
                f'{sample.label!r}'
            )


def _cut_segments(collection: Collection, out: Path, workers: int) -> Collection:
    """Make files of segments, which no list can name."""
    if all(s.start is None and s.end is None for s in collection.samples):
        return collection
    samples = [
        s._replace(group=s.name if s.group is None else s.group)
        for s in collection.samples
    ]
    segments = import_module('.segments', __package__)
    return segments.cut(replace(collection, samples=samples), out, workers=workers)


def _check_out(out: Path, made_with: Mapping[str, Any]) -> None:
    """Reject a folder of other lists before the videos are looked at."""
    there = [n for n in (*map(_list_name, SPLITS), CLASSES) if (out / n).exists()]
    if out.exists() and not out.is_dir():
        raise FileExistsError(f'{out}: expected a folder, found a file')
    if not there:
        return
    try:
        old = json.loads((out / FACTS).read_text('utf-8'))['made_with']
    except (OSError, ValueError, LookupError, TypeError):
        raise FileExistsError(
            f'{out}: expected an empty folder or one with lists of this tool, found '
            f'{", ".join(there)} of something else; choose another folder, or replace '
            'them with --overwrite'
        ) from None
    if old != made_with:
        changed = ', '.join(
            f'{key} {old.get(key)}, now {value}'
            for key, value in made_with.items()
            if old.get(key) != value
        )
        raise FileExistsError(
            f'{out}: the lists there were made differently ({changed}); choose another '
            'folder, or replace them with --overwrite'
        )


def _with_unlisted(collection: Collection) -> Collection:
    """Take files that a table of labels does not name for videos without one."""
    timed = any((s.start, s.end) != (None, None) for s in collection.samples)
    if not collection.classes or timed:
        return collection
    samples = [*collection.samples, *map(Sample, collection.unlisted)]
    samples.sort(key=lambda sample: sample.name)
    return replace(collection, samples=samples, unlisted=[])


def _list_name(split: str) -> str:
    return f'{split}.txt'


def _is_listed(
    sample: Sample,
    collection: Collection,
    problems: Mapping[str, Any],
) -> bool:
    if not can_be_listed(sample.name):
        return False
    if collection.classes and sample.label is None:
        return False
    # No video that others are compared on is left out.
    return sample.name not in problems or sample.split in SPLITS[1:]


def _for_pretraining(
    collection: Collection,
    samples: Sequence[Sample],
    problems: Mapping[str, Any],
    duplicates: Sequence[Sequence[str]],
) -> list[str]:
    """Name the videos without a label that show nothing of what others are tested on.

    A copy of a test video, or one of the group of such a video, is none of them.
    """
    if not collection.classes:
        return []
    unlabeled = [
        sample._replace(split=None)
        for sample in collection.samples
        if sample.label is None
        and sample.split in (None, 'train')
        and sample.name not in problems
        and can_be_listed(sample.name)
        # Hidden folders are those of programs.
        and not any(part.startswith('.') for part in sample.name.split('/'))
    ]
    sides = assign_splits([*samples, *unlabeled], (1, 0, 0), together=duplicates)
    sides = sides[len(samples) :]
    pairs = zip(unlabeled, sides, strict=True)
    return [sample.name for sample, side in pairs if side == 'train']


def _duplicates(names: Sequence[str], facts: Mapping[str, Facts]) -> list[list[str]]:
    moving = [
        name
        for name in names
        if name in facts and not (facts[name].static or facts[name].black)
    ]
    if not moving:
        return []
    pictures = np.stack([facts[name].decode_pictures() for name in moving])
    groups = find_duplicates([facts[name].seconds for name in moving], pictures)
    return sorted(sorted(moving[i] for i in group) for group in groups)


def _contents(
    collection: Collection,
    samples: Sequence[Sample],
    unlabeled: Sequence[str],
    summary: Summary,
) -> dict[str, str]:
    """Give the files to write; a list without a line is not to be there."""
    numbers: dict[str | None, int] = {c: i for i, c in enumerate(collection.classes)}
    contents = {
        _list_name(split): ''.join(
            f'{sample.name}\t{numbers.get(sample.label, -1)}\n'
            for sample in samples
            if sample.split == split
        )
        for split in SPLITS
    }
    more = ''.join(f'{name}\t-1\n' for name in unlabeled)
    contents[PRETRAIN] = contents[_list_name('train')] + more if more else ''
    contents[CLASSES] = ''.join(f'{name}\n' for name in collection.classes)
    contents[PAGE] = summary.page
    contents[FACTS] = json.dumps(summary.facts, indent=1) + '\n'
    return contents


def _write(out: Path, contents: Mapping[str, str], overwrite: bool) -> None:
    """Write the files; those that are as they should be stay untouched."""
    old: dict[str, bytes | None] = {}
    for name in contents:
        path = out / name
        old[name] = path.read_bytes() if path.exists() else None
    changed = [n for n, text in contents.items() if (old[n] or b'') != text.encode()]
    edited = [n for n in changed if old[n] and n not in (PAGE, FACTS)]
    if edited and not overwrite:
        raise FileExistsError(
            f'{out}: {" and ".join(edited)} would become others, as they were edited, '
            'or the videos, labels or options are others than before; choose another '
            'folder, or replace them with --overwrite'
        )
    for name, text in contents.items():
        if name in changed and text:
            AtomicLocalBackend().put_text(text, out / name)
        elif old[name] is not None and not text:
            (out / name).unlink()
