"""What a collection of videos consists of, before any list of it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

SPLITS = ('train', 'val', 'test')


class Sample(NamedTuple):
    """A video, or a segment of a longer one.

    Attributes:
        name (str): path of the file below ``Collection.root``, with ``/``.
        label (str, optional): name of its class; None if it has none.
        split (str, optional): of ``SPLITS``; None is to be decided.
        group (str, optional): samples of one group (a person, a film) share a split.
        start (float, optional): of a segment, in seconds; None is the beginning.
        end (float, optional): of a segment, in seconds; None is the end.
    """

    name: str
    label: str | None = None
    split: str | None = None
    group: str | None = None
    start: float | None = None
    end: float | None = None


@dataclass
class Collection:
    """Videos below one folder, with what their annotations say of them.

    Attributes:
        root (str): folder of the videos.
        samples (list[Sample]): those whose files are there, in a fixed order.
        classes (list[str]): names of the classes in the order of their numbers; empty
            if there are no labels.
        missing (list[str]): names in the annotations without a file.
        unlisted (list[str]): videos below the folder that no annotation names.
        repeated (list[str]): names that the annotations give more than once, with the
            same label and split; each is one sample.
    """

    root: str
    samples: list[Sample]
    classes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
