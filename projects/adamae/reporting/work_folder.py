"""What a run has left in its work folder."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from projects.adamae_command import tool_name

from ..analysis.run_files import NAME, find_starts, read_record
from ..analysis.scalar_logs import SCALARS
from ..utils.config_text import read_config_text
from ..utils.text import printable
from .curves import Curves, read_curves
from .logs import Log, read_log
from .test_results import TestReport, find_test_report, read_metrics

_CHECKPOINT = re.compile(r'(epoch|iter)_(\d+)')
_SHEET = re.compile(r'(masked_video_\d+)_(\d+)')


class Run(NamedTuple):
    """A run, with all of its starts.

    Attributes:
        folder (Path): the work folder.
        config (Config, optional): of the last training (or test, if there was none).
        config_text (str): the same, as it was written.
        curves (Curves): of the training.
        record (dict[str, Any]): the newest ``run.json``, of a training if there is one.
        logs (list[Log]): of each start, the earliest first.
        tests (dict[str, dict[str, float]]): metrics by the time of the test.
        test_report (TestReport, optional): of the newest test that wrote one.
        sheets (dict[str, dict[int, Path]]): pictures of ``PretrainVisualizationHook``:
            for each video, by epoch (iteration).
        pictures (list[Path]): others, such as those of ``tools/visualize.py``.
        checkpoints (dict[tuple[str, int], Path]): by ``'epoch'`` or ``'iter'`` and its
            number, in order.
        notes (list[str]): what could not be read.
    """

    folder: Path
    config: Config | None
    config_text: str
    curves: Curves
    record: dict[str, Any]
    logs: list[Log]
    tests: dict[str, dict[str, float]]
    test_report: TestReport | None
    sheets: dict[str, dict[int, Path]]
    pictures: list[Path]
    checkpoints: dict[tuple[str, int], Path]
    notes: list[str]


def read_run(work_dir: Path) -> Run:
    """Read a work folder; nothing in it is run or changed.

    Args:
        work_dir (Path): of one training, resumed or not, and of tests.

    Raises:
        FileNotFoundError: if there is no such folder, or no run in it.
    """
    if not work_dir.is_dir():
        raise FileNotFoundError(
            f'expected the work folder of a run, {work_dir} is '
            f'{"no folder" if work_dir.exists() else "not there"}'
        )
    scalars = sorted(work_dir.glob(f'*/{SCALARS}'))
    log_files = sorted(filter(Path.is_file, work_dir.glob('*/*.log')))
    report, notes = find_test_report(work_dir)
    if not (scalars or log_files or report):
        inner = [
            path.parents[2].relative_to(work_dir)
            for path in sorted(work_dir.glob(f'*/*/{SCALARS}'))
        ]
        hint = f'; did you mean {work_dir / inner[0]}?' if inner else ''
        raise FileNotFoundError(
            f'{work_dir}: expected the work folder of a run of '
            f'{tool_name("train.py")} or {tool_name("test.py")}, with '
            'TIME/vis_data/scalars.json or TIME/TIME.log, got '
            f'neither{hint}'
        )
    starts = find_starts(work_dir)
    curves = read_curves([start / SCALARS for start in starts])
    notes += curves.notes
    logs = [
        log
        for log in map(read_log, log_files)
        if log.path.parent in starts or 'train' not in log.phases
    ]
    said = [log.steps_per_epoch for log in logs if log.steps_per_epoch]
    if said and curves.steps_per_epoch:  # of an unfinished epoch, curves say too few
        curves = curves._replace(steps_per_epoch=said[-1])
    tested = {path: read_metrics(path) for path in sorted(work_dir.iterdir())}
    config, text = _read_config(work_dir, starts[::-1])
    if text and config is None:
        notes.append('the config that the run wrote down cannot be read')
    sheets: dict[str, dict[int, Path]] = {}
    pictures = sorted(work_dir.glob('pictures/*.png'))
    for path in (p for s in starts for p in sorted(s.glob('vis_data/vis_image/*.png'))):
        if match := _SHEET.fullmatch(path.stem):
            # That of a later start replaces that of an earlier one.
            sheets.setdefault(match[1], {})[int(match[2])] = path
        else:
            pictures.append(path)
    checkpoints = {
        (match[1], int(match[2])): path
        for path in work_dir.glob('*.pth')
        if (match := _CHECKPOINT.fullmatch(path.stem))
    }
    length = curves.steps_per_epoch or math.inf  # then all epochs come last

    def iterations(key: tuple[str, int]) -> tuple[float, int]:
        kind, number = key
        return (number * length if kind == 'epoch' else number), number

    return Run(
        work_dir,
        config,
        text,
        curves,
        _read_record(starts[::-1], notes),
        logs,
        {path.name: metrics for path, metrics in tested.items() if metrics},
        report,
        {name: dict(sorted(found.items())) for name, found in sorted(sheets.items())},
        pictures,
        dict(sorted(checkpoints.items(), key=lambda item: iterations(item[0]))),
        notes,
    )


def _read_config(work_dir: Path, starts: list[Path]) -> tuple[Config | None, str]:
    """Read the config of the first start that has one, as text that is not run."""
    files = [path / 'vis_data/config.py' for path in starts]
    files += sorted(work_dir.glob('*.py'))
    for file in files:
        if not file.is_file():
            continue
        text = file.read_text('utf-8', 'replace')
        try:
            return read_config_text(text), text
        except ValueError:
            return None, text
    return None, ''


def _read_record(starts: list[Path], notes: list[str]) -> dict[str, Any]:
    """Read what the first start to record it was; notes get what is damaged."""
    for start in starts:
        if (start / NAME).is_file():
            try:
                return read_record(start / NAME)
            except (OSError, ValueError) as error:
                notes.append(printable(str(error)))
    return {}
