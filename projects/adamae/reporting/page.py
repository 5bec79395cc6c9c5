"""The report of a run: one page that holds all it needs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image, UnidentifiedImageError

from ..diagnosis import Examination, examine
from ..diagnosis.finding import describe_error
from ..utils.config_text import find_setting
from ..utils.fileio import atomic_path
from ..utils.text import printable, shorten
from ..video.error import VideoError, one_line
from ..video.reader import VideoReader
from . import playing
from .bands import find_reference
from .charts import number
from .images import Encoded, encode
from .logs import Log
from .panels import make_panels
from .test_results import TestReport, WorstVideo
from .work_folder import Run, read_run

# In a page of ours.
MARK = b'content="tools/report.py"'
#: Bytes of a page.
MAX_BYTES = 5_000_000
# Characters of its parts, which leave half a million for curves and text.
_PLAYERS, _SHEETS, _GALLERY, _MATRIX, _WORST = (
    *(1_800_000, 1_400_000, 700_000),
    *(100_000, 300_000),
)
_CONFIG = 150_000
_MAX_SHEETS = 12  # epochs of a video
_MAX_PICTURES = 12
_MAX_CELLS = 25  # classes of a matrix that is written out
_MAX_CLASSES, _MAX_CONFUSIONS, _MAX_WORST = 500, 15, 12
_TEMPLATES = Path(__file__).with_name('templates')


class Picture(NamedTuple):
    """A picture on the page.

    Attributes:
        name (str): what it is.
        image (Encoded): itself.
    """

    name: str
    image: Encoded


def write_report(work_dir: Path, out: Path, clips: int) -> list[str]:
    """Write the report of a run.

    Args:
        work_dir (Path): of the run; nothing in it is changed.
        out (Path): file of the page.
        clips (int): how many to play.

    Returns:
        list[str]: what the page could not show, and why.

    Raises:
        FileNotFoundError: if there is no run in the folder.
        ValueError: if the file is there, and is no report.
    """
    if out.exists() and MARK not in out.read_bytes()[:2000]:
        raise ValueError(
            f'--out: expected a new file, or an earlier report to replace, got {out}'
        )
    run = read_run(work_dir)
    notes = [*run.notes]
    context = _context(run, clips, notes)
    for config_size in (_CONFIG, 0):
        text = run.config_text
        if len(text) > config_size:
            notes.append(f'the config is cut after {config_size} characters')
        page = _render(context, config=text[:config_size], notes=notes)
        if len(page) <= MAX_BYTES:
            break
    with atomic_path(out) as unfinished:
        unfinished.write_bytes(page)
    return notes


def _render(context: dict[str, Any], **more: Any) -> bytes:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES, encoding='utf-8'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters['percent'] = lambda x: '' if x is None else f'{x:.1%}'
    environment.filters['number'] = number
    styles, script = (
        Markup((_TEMPLATES / name).read_text('utf-8'))
        for name in ('report.css', 'report.js')
    )
    page = environment.get_template('report.html').render(
        **context, **more, styles=styles, script=script
    )
    # Bytes of names that are no UTF-8 are shown as such.
    return page.encode('utf-8', 'backslashreplace')


def _visible(value: Any) -> Any:
    """Escape characters that control something, in names of other people."""
    if type(value) is not str:
        return value
    return '\n'.join(
        '\t'.join(map(printable, x.split('\t'))) for x in value.split('\n')
    )


def _context(run: Run, clips: int, notes: list[str]) -> dict[str, Any]:
    reference = find_reference(run.config) if run.config else None
    # A classifier has no masks, and a test none to show.
    is_pretraining = find_setting(run.config, 'model.sampler') is not None
    return dict(
        name=run.folder.resolve().name,
        folder=str(run.folder.resolve()),
        written=datetime.now().strftime('%Y-%m-%d %H:%M'),
        is_pretraining=is_pretraining,
        diagnosis=_diagnose(run.folder, notes),
        facts=_facts(run),
        settings=_settings(run),
        cost=_cost(run),
        environment=_environment(run),
        data=[text for log in run.logs[-1:] for text in log.data],
        starts=[
            (log.path.parent.name, _kind(log.phases), _duration(log.begin, log.end))
            for log in run.logs
        ],
        warnings=_warnings(run),
        reference=reference,
        panels=make_panels(run.curves, reference),
        resumed_at=run.curves.resumed_at,
        players=_players(run, clips, notes) if is_pretraining and clips else [],
        unit='epoch' if run.curves.steps_per_epoch else 'iteration',
        sheets=_sheets(run, notes),
        gallery=_gallery(run, notes),
        validations=_validations(run),
        tests=run.tests,
        test=_test(run.test_report, notes) if run.test_report else None,
    )


def _diagnose(folder: Path, notes: list[str]) -> Examination | None:
    """Name likely faults; None if the run cannot be examined, as a test alone."""
    try:
        return examine(folder)
    # It reads what this page reads, and fails where that is damaged.
    except Exception as error:
        notes.append(f'diagnosis: {describe_error(error)}')
        return None


def _facts(run: Run) -> dict[str, str]:
    """Say what was run, from the summary in the newest log."""
    logs = _trainings(run) or run.logs
    facts = {**logs[-1].summary} if logs else {}
    facts.pop('log', None)
    iterations = [
        c.points[-1][0] for c in run.curves.by_name.values() if c.unit == 'iterations'
    ]
    if iterations:
        done = f'{max(iterations):,.0f} iterations'
        if run.curves.steps_per_epoch:
            done += f', {max(iterations) / run.curves.steps_per_epoch:.4g} epochs'
        planned = find_setting(run.config, 'train_cfg.max_epochs')
        if planned:
            done += f' of {planned}'
        facts['logged'] = done
    facts['code'] = _code(run)
    return facts


def _code(run: Run) -> str:
    """Name the commit that the newest start ran, and whether files had changed."""
    code = (run.record.get('code') or {}).get('projects.adamae')
    if not isinstance(code, dict):
        return 'of an unknown commit: run.json does not say'
    changes = ', with changes' if code.get('dirty') else ''
    return f'commit {str(code.get("commit"))[:12]}{changes}'


def _settings(run: Run) -> dict[str, Any]:
    """Pick the settings that people ask for first."""
    keys = {
        'sampler': 'model.sampler.type',
        'mask ratio': 'model.sampler.mask_ratio',
        'optimizer': 'optim_wrapper.optimizer.type',
        'learning rate': 'optim_wrapper.optimizer.lr',
        'weight decay': 'optim_wrapper.optimizer.weight_decay',
        'precision': 'optim_wrapper.type',
        'videos in a batch': 'train_dataloader.batch_size',
        'epochs': 'train_cfg.max_epochs',
        'seed': 'randomness.seed',
        'starts from': 'load_from',
    }
    found = {name: find_setting(run.config, key) for name, key in keys.items()}
    rates = run.curves.by_name.get('base_lr') or run.curves.by_name.get('lr')
    if rates and rates.finite:  # that of the config may have followed the batch
        found['learning rate'] = f'{max(y for _, y in rates.finite):.3g} at its highest'
    return {name: value for name, value in found.items() if value is not None}


def _trainings(run: Run) -> list[Log]:
    return [log for log in run.logs if 'train' in log.phases]


def _environment(run: Run) -> dict[str, str]:
    logs = _trainings(run) or run.logs
    return logs[-1].environment if logs else {}


def _cost(run: Run) -> dict[str, str]:
    """Say what the run took, as far as it has written that down."""
    timed = [
        (log.end - log.begin, log.environment.get('GPU number', ''))
        for log in _trainings(run)
        if log.begin and log.end
    ]
    cost = {}
    if timed:
        starts = f' in {len(timed)} starts' if len(timed) > 1 else ''
        total = sum((span for span, _ in timed), timedelta())
        cost['wall-clock time'] = f'{_span(total)}{starts}'
    if timed and all(count.isdigit() for _, count in timed):
        hours = sum(span.total_seconds() * int(n) for span, n in timed) / 3600
        counts = ', then '.join(dict.fromkeys(count for _, count in timed))
        word = 'process' if counts == '1' else 'processes'
        cost['processes'] = f'{counts} {word}: {hours:.3g} process hours'
    world = _environment(run).get('GPU number', '')
    gpus = {k: v for k, v in _environment(run).items() if k.startswith('GPU ')}
    gpus.pop('GPU number', None)
    if gpus:
        cost['GPUs'] = ', '.join(f'{v} ({k})' for k, v in gpus.items())
    curves = run.curves.by_name
    if 'time' in curves and curves['time'].finite:
        steps = dict(curves['time'].finite)
        median = statistics.median(steps.values())
        cost['a step'] = f'{median:.3g} s (median)'
        waits = dict(curves['data_time'].finite) if 'data_time' in curves else {}
        shares = [waits[x] / steps[x] for x in steps if x in waits and steps[x] > 0]
        if shares:
            cost['waiting for data'] = f'{statistics.median(shares):.1%} of a step'
        size = _settings(run).get('videos in a batch')
        if isinstance(size, int) and median > 0 and world.isdigit():
            cost['videos a second'] = f'{size * int(world) / median:.3g}'
    if 'memory' in curves and curves['memory'].finite:
        peak = max(y for _, y in curves['memory'].finite)
        cost['GPU memory'] = f'{peak:,.0f} MiB at most on the first GPU'
    elif curves:
        cost['GPU memory'] = 'not recorded: the run had no GPU'
    return cost


def _warnings(run: Run) -> list[tuple[str, str, int]]:
    found: dict[tuple[str, str], int] = {}
    for log in run.logs:
        for level, text, count in log.warnings:
            key = level, shorten(text, 600)
            found[key] = found.get(key, 0) + count
    return [(*key, count) for key, count in found.items()]


def _players(run: Run, count: int, notes: list[str]) -> list[playing.Player]:
    try:
        players, problems = playing.make_players(run, count, _PLAYERS)
    # Videos may be gone, and code or config may have changed since: the rest of the
    # page does not need them.
    except Exception as error:
        players, problems = [], [describe_error(error)]
    notes += [f'masks over playing clips: {problem}' for problem in problems]
    return players


def _sheets(run: Run, notes: list[str]) -> dict[str, list[Picture]]:
    """Choose pictures of several epochs for each video."""
    chosen = {
        name: _spread([*by_step.items()], _MAX_SHEETS)
        for name, by_step in run.sheets.items()
    }
    count = sum(map(len, chosen.values()))
    shown: dict[str, list[Picture]] = {}
    for name, steps in chosen.items():
        for step, path in steps:
            picture = _load(path, _SHEETS // count, notes)
            if picture:
                label = name.replace('_', ' ')
                shown.setdefault(label, []).append(Picture(str(step), picture))
    if left := sum(map(len, run.sheets.values())) - count:
        notes.append(f'pictures of the training: {left} epochs in between left out')
    return shown


def _gallery(run: Run, notes: list[str]) -> list[Picture]:
    paths = run.pictures
    chosen = _spread(paths, _MAX_PICTURES)
    if len(chosen) < len(paths):
        notes.append(f'gallery: {len(chosen)} of {len(paths)} pictures')
    loaded = [
        (path.name, _load(path, _GALLERY // len(chosen), notes)) for path in chosen
    ]
    return [Picture(name, image) for name, image in loaded if image]


def _load(path: Path, limit: int, notes: list[str]) -> Encoded | None:
    """Read a picture, smaller if it must be."""
    try:
        with Image.open(path) as image:
            encoded = encode(image, limit)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        notes.append(f'{path.name}: {one_line(error)}')
        return None
    if encoded is None:
        notes.append(f'{path.name}: too large for this page')
    elif encoded.scale < 1:
        notes.append(f'{path.name}: shown at {encoded.scale:.0%} of its size')
    return encoded


def _validations(run: Run) -> list[tuple[str, str, str, str]]:
    """List the last and the best values of what was measured on held-out videos."""
    rows = []
    for name, curve in run.curves.by_name.items():
        if not curve.finite or not name.startswith(('acc/', 'masking/', 'knn/')):
            continue
        x, last = curve.finite[-1]
        at, highest = max(curve.finite, key=lambda p: p[1])
        rows.append(
            (
                name,
                f'{number(last)}',
                f'{number(highest)} ({at:g})',
                f'{curve.unit} {x:g}',
            )
        )
    return rows


class Confusion(NamedTuple):
    """A class that was taken for another one.

    Attributes:
        true (str): its name.
        predicted (str): of the other.
        videos (int): how many.
        share (float): of the videos of the class that could be read.
    """

    true: str
    predicted: str
    videos: int
    share: float


def _test(report: TestReport, notes: list[str]) -> dict[str, Any]:
    matrix, names = report.matrix, [c.name for c in report.classes]
    totals = matrix.sum(1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind='stable')[:_MAX_CONFUSIONS]
    pairs = [divmod(int(i), len(matrix)) for i in order]
    if len(names) > _MAX_CLASSES:
        notes.append(
            f'classes: the {_MAX_CLASSES} with the lowest accuracy of {len(names)}'
        )
    classes = sorted(
        report.classes, key=lambda c: 2.0 if c.accuracy is None else c.accuracy
    )
    is_small = len(names) <= _MAX_CELLS
    return dict(
        folder=str(report.folder),
        metrics=report.metrics,
        names=names,
        classes=classes[:_MAX_CLASSES],
        cells=[*zip(names, matrix.tolist(), shares.tolist(), strict=True)]
        if is_small
        else None,
        picture=None if is_small else _matrix_picture(shares),
        confusions=[
            Confusion(names[a], names[b], int(wrong[a, b]), float(shares[a, b]))
            for a, b in pairs
            if wrong[a, b]
        ],
        worst={
            kind: [(v, _thumbnail(v)) for v in videos[:_MAX_WORST]]
            for kind, videos in report.worst.items()
        },
    )


def _matrix_picture(shares: np.ndarray) -> Encoded | None:
    """Draw a large matrix, a pixel for each cell, dark where there is much."""
    dark = 1 - np.sqrt(shares)[..., None]
    colors = np.array([8, 48, 107]) * (1 - dark) + 255 * dark
    return encode(np.rint(colors).astype(np.uint8), _MATRIX)


def _thumbnail(video: WorstVideo) -> Encoded | None:
    """Show four frames of a video; None if it cannot be read here."""
    try:
        reader = VideoReader(video.path, time_limit=10)
        numbers = np.linspace(0, len(reader) - 1, 6).round().astype(int)[1:-1]
        frames = reader.get_frames(numbers.tolist())
    except (VideoError, OSError, ValueError):
        return None
    small = []
    for frame in frames:
        image = Image.fromarray(frame)
        image.thumbnail((96, 96))
        small.append(np.asarray(image))
    return encode(np.concatenate(small, axis=1), _WORST // (2 * _MAX_WORST))


def _spread(items: Sequence[Any], count: int) -> list[Any]:
    """Choose some of many, evenly, with the first and the last."""
    chosen = np.linspace(0, len(items) - 1, min(count, len(items))).round()
    return [items[int(i)] for i in chosen]


def _kind(phases: Iterable[str]) -> str:
    names = {'train': 'training', 'val': 'validation', 'test': 'test'}
    return ', '.join(names[p] for p in ('train', 'val', 'test') if p in phases) or '-'


def _duration(begin: datetime | None, end: datetime | None) -> str:
    return _span(end - begin) if begin and end else ''


def _span(time: timedelta) -> str:
    minutes, seconds = divmod(round(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f'{hours} h {minutes:02} min'
    return f'{minutes} min {seconds:02} s' if minutes else f'{seconds} s'
