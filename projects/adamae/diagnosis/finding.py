"""A likely cause of trouble, and what all parts of an examination write to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


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
