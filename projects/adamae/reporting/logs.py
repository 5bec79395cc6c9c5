"""What the log files of a run say."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

_RECORD = re.compile(r'(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - \S+ - ([A-Z]+) - ?(.*)')
_EPOCH = re.compile(r'(?:Epoch|Iter)\((train|val|test)\)')
# What is said of the videos before the first step.
_DATA = re.compile(r'(data_prefix|ann_file|dataset|train|val|test)\S*: .*videos')
# The number of steps in an epoch stands last.
_LENGTH = re.compile(r'Epoch\(train\)\s+\[\s*\d+\]\[\s*\d+/(\d+)\]')
_KEY = re.compile(r' {2,4}(\S[^:]*): (.*)')
# Hundreds of characters of compiler flags.
_LONG = 'PyTorch compiling details'
_MAX_MESSAGES = 50


class Log(NamedTuple):
    """A log file.

    Attributes:
        path (Path): of the file.
        begin (datetime, optional): of the first line; None if there is none.
        end (datetime, optional): of the last one.
        environment (dict[str, str]): versions and settings, from MMEngine.
        summary (dict[str, str]): of the start of the run: config, device, model.
        data (list[str]): what was said of the videos before the first step.
        warnings (list[tuple[str, str, int]]): level, message, and how often it came;
            at most 50 different ones.
        phases (set[str]): of ``'train'``, ``'val'`` and ``'test'``, those begun.
        steps_per_epoch (int, optional): as the training said.
    """

    path: Path
    begin: datetime | None
    end: datetime | None
    environment: dict[str, str]
    summary: dict[str, str]
    data: list[str]
    warnings: list[tuple[str, str, int]]
    phases: set[str]
    steps_per_epoch: int | None


def read_log(path: Path) -> Log:
    """Read a log file of MMEngine, line by line: it may be long, and end anywhere.

    Args:
        path (Path): of the file. Bytes that are no UTF-8 are kept as surrogates.
    """
    begin = end = None
    environment: dict[str, str] = {}
    summary: dict[str, str] = {}
    data: list[str] = []
    warnings: Counter[tuple[str, str]] = Counter()
    phases: set[str] = set()
    steps = None
    block: dict[str, str] | None = None
    with open(path, encoding='utf-8', errors='surrogateescape') as lines:
        for line in lines:
            record = _RECORD.match(line)
            if not record:
                if line.startswith(('System environment:', 'Runtime environment:')):
                    block = environment
                elif block is not None and (pair := _KEY.match(line)):
                    if pair[1] != _LONG:
                        block[pair[1]] = pair[2].strip()
                continue
            try:
                time = datetime.strptime(record[1], '%Y/%m/%d %H:%M:%S')
            except ValueError:  # a damaged line
                continue
            begin, end = begin or time, time
            message = record[3].strip()
            block = summary if message == 'Start of the run' else None
            if phase := _EPOCH.match(message):
                phases.add(phase[1])
                if length := _LENGTH.match(message):
                    steps = int(length[1])
            elif record[2] in ('WARNING', 'ERROR', 'CRITICAL'):
                key = record[2], message
                if key in warnings or len(warnings) < _MAX_MESSAGES:
                    warnings[key] += 1
            elif not phases and _DATA.match(message):
                data.append(message)
    counted = [(*key, count) for key, count in warnings.items()]
    return Log(path, begin, end, environment, summary, data, counted, phases, steps)
