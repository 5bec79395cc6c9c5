"""What is left of a run on the disk, read so that runs can be compared."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from ..checkpoints.io import load_safely
from ..utils.checksums import is_archive
from ..utils.config_text import read_config_text
from ..utils.text import printable
from .scalar_logs import SCALARS, is_by_iteration, read_rows, read_scalars

#: The file that ``tools/train.py`` and ``tools/test.py`` write beside their log.
NAME = 'run.json'
#: Version of its keys; raised when one changes its meaning.
SCHEMA = 1
#: Parts of that file; each is a dict, or None if it could not be found out.
PARTS = (
    *('config', 'seeds', 'data', 'weights', 'code', 'packages'),
    *('hardware', 'environment'),
)
_CONFIG_SUFFIXES = '.py', '.yaml', '.yml'
# What a log has beside metrics.
_NO_METRICS = ('lr', 'base_lr', 'time', 'data_time', 'memory', 'step', 'eta')


class RunFiles(NamedTuple):
    """A run, or as much of it as a config or checkpoint tells.

    Attributes:
        path (str): what it was read from.
        parts (dict[str, Any]): those of :data:`PARTS` that are known.
        processes (int, optional): of the run.
        results (dict[str, float]): last and best metrics, named ``'acc/top1 (last)'``.
    """

    path: str
    parts: dict[str, Any]
    processes: int | None = None
    results: dict[str, float] = {}


def read_run(path: str | Path) -> RunFiles:
    """Read a work folder, ``run.json``, checkpoint or config.

    Of a work folder, it is the newest training, or the newest test if there was none. A
    config is run, as in training; nothing in the other files is.

    Args:
        path (str | Path): one of these.

    Returns:
        RunFiles: what is in it.

    Raises:
        FileNotFoundError: if there is nothing there.
        ValueError: if it is none of these, damaged, or of a later version.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise FileNotFoundError(f'expected a file or folder, found none at {path}')
    if path.suffix == '.json':
        return _read_chain([(path, read_record(path))])
    if path.suffix in _CONFIG_SUFFIXES:
        try:
            content = Config.fromfile(path).to_dict()
        except Exception as error:  # it runs the file, if it is Python
            text = ' '.join(f'{type(error).__name__}: {error}'.split())
            raise ValueError(f'{path}: expected a config, got {text}') from error
        return RunFiles(str(path), {'config': plain_values(content)})
    return _read_checkpoint(path)


def read_record(path: str | Path) -> dict[str, Any]:
    """Read a ``run.json``.

    Args:
        path (str | Path): of the file.

    Returns:
        dict[str, Any]: its content, see ``docs/reproducibility.md``. Keys may be
        missing.

    Raises:
        ValueError: if it is damaged, none, or of a later version.
    """
    try:
        content = json.loads(Path(path).read_text('utf-8'))
    except (ValueError, RecursionError) as error:
        reason = printable(str(error))
        raise ValueError(f'{path}: damaged or no JSON: {reason}') from None
    schema = content.get('schema') if isinstance(content, dict) else None
    if type(schema) is not int:
        raise ValueError(f'{path}: expected a {NAME}, with a number as schema')
    if not 1 <= schema <= SCHEMA:
        raise ValueError(
            f'{path}: expected a {NAME} of schema {SCHEMA}, got {schema}; read it with '
            'the version of this project that wrote it, or a newer one'
        )
    for key in (*PARTS, 'not_recorded'):
        if not isinstance(content.get(key), Mapping | None):
            raise ValueError(f'{path}: {key}: expected an object, got another value')
    for key, part in (content.get('packages') or {}).items():
        if not isinstance(part, Mapping):
            raise ValueError(f'{path}: packages.{key}: expected an object')
    return content


def find_starts(work_dir: Path) -> list[Path]:
    """Find the starts of a run: of its training, or of tests if it never trained.

    Args:
        work_dir (Path): of the run.

    Returns:
        list[Path]: folder of each start, named by time, the earliest first. Those
        before a training that was started over are left out.
    """
    logs, data = work_dir.glob('*/*.log'), work_dir.glob('*/vis_data')
    starts = sorted({path.parent for path in (*logs, *data)})
    trainings = [start for start in starts if _trains(start)]
    first = max((i for i, s in enumerate(trainings) if _starts_over(s)), default=0)
    return trainings[first:] or starts


def _starts_over(start: Path) -> bool:
    """Whether a training that has logged something goes on from no other."""
    config = start / 'vis_data/config.py'
    if not ((start / SCALARS).is_file() and config.is_file()):
        return False
    # As MMEngine writes it, for a config that need not be read as a whole.
    return '\nresume = False\n' in f'\n{config.read_text("utf-8", "replace")}\n'


def _trains(start: Path) -> bool:
    if (start / SCALARS).is_file():
        return True
    try:
        return read_record(start / NAME).get('kind') == 'train'
    except (OSError, ValueError):
        return False


def plain_values(value: Any) -> Any:
    """Write a config in the values that JSON has.

    Args:
        value (Any): tuples and sets become lists, classes and functions their names,
            numbers that JSON lacks text (``'inf'``), other objects the names of their
            classes.
    """
    if isinstance(value, Mapping):
        return {str(key): plain_values(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted((plain_values(part) for part in value), key=str)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return plain_values(value.tolist())
    named = value if hasattr(value, '__qualname__') else type(value)
    return f'{named.__module__}.{named.__qualname__}'


def _read_folder(folder: Path) -> RunFiles:
    paths = sorted(folder.glob(f'*/{NAME}')) or sorted(folder.glob(NAME))
    records = [(path, read_record(path)) for path in paths]
    if records:
        trainings = [pair for pair in records if pair[1].get('kind') == 'train']
        chain = (trainings or records)[-1:]
        # What a run was resumed from has a part of its results.
        for pair in reversed(trainings[:-1]):
            if not (chain[0][1].get('config') or {}).get('resume'):
                break
            chain.insert(0, pair)
        return _read_chain(chain)
    dumps = [*folder.glob('*/vis_data/config.py'), *folder.glob('vis_data/config.py')]
    dumps = sorted(filter(Path.is_file, dumps))
    if not dumps:
        raise ValueError(
            f'{folder}: expected the work folder of a run, with DATE_TIME/{NAME}, got '
            'neither that nor DATE_TIME/vis_data/config.py'
        )
    config = _read_text(dumps[-1], dumps[-1].read_text('utf-8', 'replace'))
    return RunFiles(
        str(dumps[-1]), {'config': config}, None, _results([dumps[-1].parents[1]])
    )


def _read_chain(records: list[tuple[Path, dict[str, Any]]]) -> RunFiles:
    (_, first), (path, last) = records[0], records[-1]
    # A part that was resumed names a checkpoint of the part before it: what the run
    # has started with is what the first one says.
    content = {**last, 'weights': first.get('weights')}
    if last.get('config') and first.get('config'):
        started = {key: first['config'].get(key) for key in ('load_from', 'resume')}
        content['config'] = {**last['config'], **started}
    return RunFiles(
        str(path),
        {key: content[key] for key in PARTS if content.get(key) is not None},
        content.get('processes'),
        _results([path.parent for path, _ in records]),
    )


def _read_checkpoint(path: Path) -> RunFiles:
    content = load_safely(path, mmap=is_archive(path))
    meta = content.get('meta') if isinstance(content, dict) else None
    meta = meta if isinstance(meta, dict) else {}
    if not isinstance(meta.get('cfg'), str):
        raise ValueError(
            f"{path}: expected a checkpoint with the config of its run, as MMEngine's "
            'are, got one without; name the config instead'
        )
    parts: dict[str, Any] = {'config': _read_text(path, meta['cfg'])}
    if isinstance(meta.get('seed'), int):
        parts['seeds'] = {'seed': meta['seed']}
    return RunFiles(str(path), parts)


def _read_text(path: Path, text: str) -> Any:
    try:
        return plain_values(read_config_text(text).to_dict())
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


def _results(folders: list[Path]) -> dict[str, float]:
    """Read the last and the best metrics of what MMEngine has logged."""
    rows = read_scalars([folder / SCALARS for folder in folders]).rows
    # What a test has written has no step.
    tests = [folder / f'{folder.name}.json' for folder in folders]
    rows += [row for file in tests if file.is_file() for row in read_rows(file)[0]]
    last: dict[str, float] = {}
    best: dict[str, float] = {}
    for row in rows:
        for key, value in row.items():
            if key in _NO_METRICS:
                continue
            last[key] = value
            choose = None if is_by_iteration(row, by_epoch=True) else _better(key)
            if choose and value == value:  # NaN is never best
                best[key] = choose(best.get(key, value), value)
    found = {}
    for key, value in last.items():
        found[f'{key} (last)'] = value
        if key in best:
            found[f'{key} (best)'] = best[key]
    return found


def _better(key: str) -> Any:
    """Choose as MMEngine's ``save_best`` does by default; None if it cannot say."""
    for choose, parts in (
        (max, CheckpointHook._default_greater_keys),
        (min, CheckpointHook._default_less_keys),
    ):
        if any(part in key for part in parts):
            return choose
    return None
