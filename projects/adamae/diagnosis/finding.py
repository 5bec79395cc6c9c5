"""A likely cause of trouble, and what all parts of an examination write to."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..utils.text import printable
from ..video.error import VideoError


class Finding(NamedTuple):
    """What is likely wrong.

    Args:
        cause (str): in a few words.
        evidence (str): numbers, each with what it was compared with.
        remedy (str): the option to change, or what to look at.
    """

    cause: str
    evidence: str
    remedy: str


@dataclass
class Examination:
    """What came out of looking at a run.

    Attributes:
        findings (list[Finding]): the most likely first; none: the run looks healthy.
        unknown (list[str]): what could not be judged, and why.
        measured (dict[str, float]): numbers that were compared with a threshold.
    """

    findings: list[Finding] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)

    def add(self, cause: str, evidence: str, remedy: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(cause, evidence, remedy))


def describe_error(error: Exception) -> str:
    """Tell what went wrong in one line, and where, if nobody has foreseen it.

    Errors of files, values and videos are foreseen; their texts say what to do. Others
    come from configs and classes of other people, or from mistakes of ours.
    """
    text = f'{type(error).__name__}: {printable(" ".join(str(error).split()))}'
    if isinstance(error, OSError | ValueError | VideoError):
        return text
    *_, place = traceback.extract_tb(error.__traceback__)
    return (
        f'{text} ({Path(place.filename).name}, line {place.lineno}: something of the '
        'run is of another form than expected, or this is a fault of this program)'
    )
